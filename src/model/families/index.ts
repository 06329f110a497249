/** The families that are known. A new one is a file beside this and one entry in the list. */
import { ConnitoError } from "../../errors.ts";
import { pieceName } from "../pieces.ts";
import type { Computation } from "./computation.ts";
import { invalidConfig } from "./config.ts";
import { dbrx } from "./dbrx.ts";
import { deepseekV2 } from "./deepseek-v2.ts";
import { deepseekV3 } from "./deepseek-v3.ts";
import type { Architecture, Family, TensorSpec } from "./family.ts";
import { isUsuallyFp8, withBlockScales } from "./fp8.ts";
import { glm4Moe } from "./glm4-moe.ts";
import { gptOss } from "./gpt-oss.ts";
import { jamba } from "./jamba.ts";
import { llama4 } from "./llama4.ts";
import { mixtral } from "./mixtral.ts";
import { olmoe } from "./olmoe.ts";
import { phimoe } from "./phimoe.ts";
import { qwen2Moe } from "./qwen2-moe.ts";
import { qwen3Moe } from "./qwen3-moe.ts";
import { qwen3Next } from "./qwen3-next.ts";

export type {
  Computation,
  Experts,
  GroupedQueryAttention,
  LatentAttention,
  LayerRules,
  Norm,
  Part,
  SparseMixerRouter,
  TopKRouter,
} from "./computation.ts";
export type { Architecture, Family, NewModel, TensorSpec } from "./family.ts";

export const families: readonly Family[] = [
  mixtral,
  qwen2Moe,
  qwen3Moe,
  olmoe,
  deepseekV2,
  deepseekV3,
  glm4Moe,
  gptOss,
  llama4,
  qwen3Next,
  phimoe,
  jamba,
  dbrx,
];

/** The families of which a model can be made from sizes alone: those that the engine computes. */
export const creatableFamilies: readonly string[] = families
  .filter(({ newConfig }) => newConfig !== undefined)
  .map(({ modelType }) => modelType);

/**
 * The family that a parsed config.json belongs to.
 * Throws `config-invalid` without a `model_type`, `unknown-family` for one that is not in the list.
 */
export function familyOf(config: unknown): Family {
  if (typeof config !== "object" || config === null || Array.isArray(config)) throw invalidConfig("the document", "not a JSON object");
  const modelType = (config as Record<string, unknown>).model_type;
  if (typeof modelType !== "string") throw invalidConfig("model_type", "missing, or not a string");
  return familyNamed(modelType);
}

/** The family of a `model_type`. Throws `unknown-family`. */
export function familyNamed(modelType: string): Family {
  const family = families.find((one) => one.modelType === modelType || one.aliases.includes(modelType));
  if (family !== undefined) return family;
  throw new ConnitoError(`unknown model family ${JSON.stringify(modelType.slice(0, 64))}`, {
    code: "unknown-family",
    exit: "invalidInput",
    hint: `Known families: ${families.map((one) => one.modelType).join(", ")}.`,
  });
}

/** The names of a checkpoint's tensors: a set of them, or a map by name. */
type Names = Pick<ReadonlySet<string>, "has">;

/**
 * Every tensor of an architecture in its form. Which linear maps are FP8 is told by the scales among `names`, the checkpoint's own
 * tensors; without them all are taken to be that published checkpoints have in FP8.
 */
export function listTensors(architecture: Architecture, names?: Names): TensorSpec[] {
  return [...eachTensor(architecture, names)];
}

/** The same one after another. */
export function eachTensor(architecture: Architecture, names?: Names): Iterable<TensorSpec> {
  const specs = familyNamed(architecture.family).tensors(architecture);
  if (architecture.fp8Block === undefined) return specs;
  return withBlockScales(specs, architecture.fp8Block, names ? (_, scaleName) => names.has(scaleName) : isUsuallyFp8);
}

/**
 * The architecture that a parsed config.json describes. Where the names of the checkpoint's tensors are given, it is in the first of
 * the family's forms whose tensors are all among them; if none is, in the one that config.json suggests.
 * Throws `config-invalid`, `unknown-family`.
 */
export function readArchitecture(config: unknown, names?: Names): Architecture {
  const family = familyOf(config);
  const suggested = family.architecture(config);
  if (names === undefined || family.forms.length === 1) return suggested;
  const candidates = [suggested.form, ...family.forms.filter((form) => form !== suggested.form)].map((form) => ({ ...suggested, form }));
  return candidates.find((one) => hasAll(names, family.tensors(one))) ?? suggested;
}

/** One after another, so that of a hundred thousand none has to be kept. */
function hasAll(names: Names, specs: Iterable<TensorSpec>): boolean {
  for (const { name } of specs) if (!names.has(name)) return false;
  return true;
}

/** Whether the loss depends on a weight: not where the engine passes the tensor over, nor where it counts for a choice only. */
export function isTrainable({ part }: TensorSpec): boolean {
  return part !== undefined && part !== "router.correction";
}

/**
 * The tensors as pieces, which is how weights travel, are trained and are computed with: a fused tensor is one weight for each expert,
 * under the piece's name and of its shape.
 */
export function listWeights(architecture: Architecture): TensorSpec[] {
  return listTensors(architecture).flatMap((spec) => cutTensor(spec));
}

/** One tensor as its weights. In a fused layout experts are the leading dimension, or lie one after another in it. */
export function cutTensor(spec: TensorSpec): TensorSpec[] {
  const { fusedExperts: experts, ...rest } = spec;
  if (experts === undefined) return [spec];
  const shape = shapeOfExpert(spec.shape, experts);
  return Array.from({ length: experts }, (_, expert) => ({ ...rest, name: pieceName({ name: spec.name, expert }), shape, expert }));
}

/** One expert's part of a fused tensor's shape. */
export function shapeOfExpert([leading = 1, ...rest]: readonly number[], experts: number): number[] {
  return leading === experts ? rest : [leading / experts, ...rest];
}

/** Whether experts are stored in a type whose values nothing here reads: FP8 with block scales, or MXFP4. */
export function isPacked({ form, fp8Block }: Architecture): boolean {
  return form === "mxfp4" || fp8Block !== undefined;
}

/** Why the engine cannot compute an architecture, which can still be sliced; empty where it can. */
export function whyNotComputable({ family, form, computation, notComputed, fp8Block }: Architecture): string[] {
  return [
    ...(computation === undefined ? [`the family ${family}`] : []),
    ...notComputed,
    ...(form === "mxfp4" ? ["experts in MXFP4 blocks"] : []),
    ...(fp8Block === undefined ? [] : ["FP8 weights"]),
  ];
}

/**
 * How an architecture is computed. Throws `config-not-computable` for one that can only be sliced, naming the reasons; where it is for its weights being
 * packed and nothing else, with the command that unpacks those of the checkpoint in `directory`.
 */
export function requireComputable(architecture: Architecture, directory = "DIRECTORY"): Computation {
  const { family, computation, notComputed } = architecture;
  const reasons = whyNotComputable(architecture);
  if (computation !== undefined && reasons.length === 0) return computation;
  const unpacks = isPacked(architecture) && computation !== undefined && notComputed.length === 0;
  throw new ConnitoError(`the engine does not compute this ${family} model: ${reasons.join(", ")}`, {
    code: "config-not-computable",
    exit: "invalidInput",
    hint: unpacks
      ? `Such a checkpoint can be inspected and sliced; a task wants it in BF16. Run ${unpacking(directory)}`
      : `Such a checkpoint can be inspected and sliced; a task wants one that the engine computes, of ${creatableFamilies.join(", ")}.`,
  });
}

function unpacking(directory: string): string {
  const packed = directory.replace(/(?<=.)\/+$/, "");
  const word = (path: string) => (/^[\w@%+=:,./~-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`);
  return `\`connito model convert ${word(packed)} --output ${word(`${packed}-bf16`)}\`, then this command with ${word(`${packed}-bf16`)}.`;
}
