/**
 * What a model costs, from its architecture alone: parameters, bytes, and the law that makes the subnet possible: a miner holds
 * `backbone + routed / groups`, and beside it 4-bit stand-ins of the rest.
 */
import { ConnitoError } from "../errors.ts";
import { bytesOf, elementsOf, type FloatDtype } from "./dtype.ts";
import { type Architecture, listTensors } from "./families/index.ts";
import { bytesOfPiece } from "./pieces.ts";

export interface ModelDescription {
  readonly family: string;
  readonly layers: number;
  readonly expertLayers: number;
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
  /** The largest group's slice. `trained` is backbone and own experts, `total` adds the stand-ins. */
  readonly slice: {
    readonly groups: number;
    readonly expertsPerLayer: number;
    readonly backbone: number;
    readonly experts: number;
    readonly standIns: number;
    readonly trained: number;
    readonly total: number;
  };
}

/** Numbers of a model whose tensors are all of one dtype. `groups` is how many the experts of a layer are shared out to. Throws `groups-invalid`. */
export function describeModel(architecture: Architecture, groups: number, dtype: FloatDtype = "BF16"): ModelDescription {
  const { family, layers, experts, expertsPerToken } = architecture;
  if (!Number.isInteger(groups) || groups < 1 || groups > experts) {
    throw new ConnitoError(`${groups} groups of ${experts} experts`, {
      code: "groups-invalid",
      exit: "invalidInput",
      hint: `Choose a whole number of groups from 1 to ${experts}.`,
    });
  }
  const parameters = { backbone: 0, routed: 0 };
  let standIns = 0;
  for (const spec of listTensors(architecture)) {
    const elements = elementsOf(spec.shape) ?? Number.NaN;
    if (spec.role === "backbone") parameters.backbone += elements;
    else {
      parameters.routed += elements;
      standIns += bytesOfPiece("Q4_32", spec.shape) ?? Number.NaN;
    }
  }
  const expertLayers = architecture.expertLayers.length;
  const expert = parameters.routed / (expertLayers * experts);
  const bytes = (elements: number) => bytesOf(dtype, [elements]) ?? Number.NaN;
  const expertsPerLayer = Math.ceil(experts / groups);
  const own = bytes(expert * expertLayers * expertsPerLayer);
  const others = (standIns / experts) * (experts - expertsPerLayer);
  const backbone = bytes(parameters.backbone);
  return {
    family,
    layers,
    expertLayers,
    experts,
    expertsPerToken,
    parameters: {
      total: parameters.backbone + parameters.routed,
      ...parameters,
      expert,
      active: parameters.backbone + expert * expertLayers * expertsPerToken,
    },
    bytes: {
      total: bytes(parameters.backbone + parameters.routed),
      backbone,
      routed: bytes(parameters.routed),
      expert: bytes(expert),
    },
    slice: { groups, expertsPerLayer, backbone, experts: own, standIns: others, trained: backbone + own, total: backbone + own + others },
  };
}
