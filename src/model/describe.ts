/**
 * What a model costs: parameters, bytes, and the law that makes the subnet possible: a miner holds `backbone + routed / groups`, and
 * beside it low-bit stand-ins of the rest. Reckoned from the list of tensors alone, be it a checkpoint's or what a config.json promises.
 */
import * as v from "valibot";
import { createExpertManager } from "../protocol/experts/expert-manager.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { bytesOf, type Dtype, elementsOf, isFloatDtype } from "./dtype.ts";
import { type Architecture, cutTensor, listTensors, readArchitecture, type TensorSpec } from "./families/index.ts";
import { bytesOfPiece } from "./pieces.ts";
import { expertLayout } from "./slice.ts";
import { defaultPolicy, type StandInPolicy } from "./stand-in-policy.ts";

/** A model's tensors with the element types that they have, or are expected to have. */
export interface SizedModel {
  readonly architecture: Architecture;
  readonly tensors: readonly (TensorSpec & { readonly dtype: Dtype })[];
}

export interface SliceSize {
  readonly groups: number;
  /** Experts a layer in each group. */
  readonly expertsPerLayer: number;
  readonly backbone: number;
  readonly experts: number;
  /** Absent where none can be made: packed experts hold no values that Connito reads. */
  readonly standIns?: number;
  /** Backbone and own experts. */
  readonly trained: number;
  /** With stand-ins. */
  readonly total: number;
}

export interface ModelDescription {
  readonly family: string;
  readonly form: string;
  readonly layers: number;
  /** Layers that have experts, rising. */
  readonly expertLayers: readonly number[];
  readonly experts: number;
  readonly expertsPerToken: number;
  readonly parameters: {
    readonly total: number;
    readonly backbone: number;
    /** All routed experts of all layers. */
    readonly routed: number;
    /** One expert of one layer. */
    readonly expert: number;
    /** What one token uses: the backbone and the experts chosen in each layer. */
    readonly active: number;
  };
  readonly bytes: { readonly total: number; readonly backbone: number; readonly routed: number; readonly expert: number };
  /** Tensors by element type. */
  readonly dtypes: Readonly<Record<string, number>>;
}

/** As it lies on the disk. */
export function sizeCheckpoint({ architecture, specs, tensors }: Checkpoint): SizedModel {
  return { architecture, tensors: specs.map((spec) => ({ ...spec, dtype: tensors.get(spec.name)?.dtype ?? "BF16" })) };
}

const dtypeNames: Record<string, Dtype> = { float32: "F32", bfloat16: "BF16", float16: "F16" };
const name = v.optional(v.string());
const dtypeSettings = v.looseObject({
  dtype: name,
  torch_dtype: name,
  text_config: v.optional(v.looseObject({ dtype: name, torch_dtype: name })),
});

/** As a parsed config.json promises it: the element type that it names, else BF16. Throws `config-invalid`, `unknown-family`. */
export function sizeConfig(config: unknown): SizedModel {
  const architecture = readArchitecture(config);
  const { output, success } = v.safeParse(dtypeSettings, config);
  const named = success ? [output.dtype, output.torch_dtype, output.text_config?.dtype, output.text_config?.torch_dtype] : [];
  const dtype = dtypeNames[named.find((one) => one !== undefined) ?? ""] ?? "BF16";
  // The scales of FP8 blocks are kept in full precision.
  const dtypeOf = (spec: TensorSpec) => spec.dtype ?? (spec.parametersPerElement === 0 ? "F32" : dtype);
  return { architecture, tensors: listTensors(architecture).map((spec) => ({ ...spec, dtype: dtypeOf(spec) })) };
}

export function describeModel({ architecture, tensors }: SizedModel): ModelDescription {
  const { family, form, layers, experts, expertsPerToken, expertLayers } = architecture;
  const parameters = { backbone: 0, routed: 0 };
  const bytes = { backbone: 0, routed: 0 };
  const dtypes: Record<string, number> = {};
  for (const { shape, dtype, role, parametersPerElement = 1 } of tensors) {
    const share = role === "backbone" ? "backbone" : "routed";
    parameters[share] += (elementsOf(shape) ?? Number.NaN) * parametersPerElement;
    bytes[share] += bytesOf(dtype, shape) ?? Number.NaN;
    dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
  }
  const each = expertLayers.length * experts;
  return {
    family,
    form,
    layers,
    expertLayers,
    experts,
    expertsPerToken,
    parameters: {
      total: parameters.backbone + parameters.routed,
      ...parameters,
      expert: parameters.routed / each,
      active: parameters.backbone + (parameters.routed / experts) * expertsPerToken,
    },
    bytes: { total: bytes.backbone + bytes.routed, ...bytes, expert: bytes.routed / each },
    dtypes,
  };
}

/**
 * A miner's slice, where the experts of a layer are shared out to so many groups. Stand-ins by use are counted with all the bits that they may have.
 * Throws `groups-do-not-divide`.
 */
export function describeSlice(model: SizedModel, groups: number, policy = defaultPolicy(model.architecture)): SliceSize {
  const { experts } = model.architecture;
  createExpertManager(expertLayout(model.architecture), groups);
  const { backbone, routed } = describeModel(model).bytes;
  const expertsPerLayer = experts / groups;
  const own = (routed / experts) * expertsPerLayer;
  const all = standInBytes(model, policy);
  const standIns = all === undefined ? undefined : (all / experts) * (experts - expertsPerLayer);
  const trained = backbone + own;
  return {
    groups,
    expertsPerLayer,
    backbone,
    experts: own,
    ...(standIns === undefined ? {} : { standIns }),
    trained,
    total: trained + (standIns ?? 0),
  };
}

/** Bytes of the stand-ins of all experts; undefined where an expert's values are packed. */
function standInBytes({ tensors }: SizedModel, policy: StandInPolicy): number | undefined {
  let sum = 0;
  for (const spec of tensors) {
    if (spec.role === "backbone") continue;
    if (!isFloatDtype(spec.dtype)) return undefined;
    // Experts of one tensor are of one shape.
    const { shape } = spec.fusedExperts === undefined ? spec : (cutTensor(spec)[0] as TensorSpec);
    const each = policy.kind === "by-use" ? ((elementsOf(shape) ?? Number.NaN) * policy.bits) / 8 : bytesOfPiece("Q4_32", shape);
    sum += (each ?? Number.NaN) * (spec.fusedExperts ?? 1);
  }
  return sum;
}
