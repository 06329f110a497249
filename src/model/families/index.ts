/** The families that are known. A new one is a file beside this and one entry in the list. */
import { ConnitoError } from "../../errors.ts";
import { pieceName } from "../pieces.ts";
import type { Computation } from "./computation.ts";
import { invalidConfig } from "./config.ts";
import type { Architecture, Family, TensorSpec } from "./family.ts";
import { olmoe } from "./olmoe.ts";
import { qwen3Moe } from "./qwen3-moe.ts";

export type { Computation, Part } from "./computation.ts";
export type { Architecture, Family, NewModel, TensorSpec } from "./family.ts";

export const families: readonly Family[] = [olmoe, qwen3Moe];

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
  const family = families.find((one) => one.modelType === modelType);
  if (family !== undefined) return family;
  throw new ConnitoError(`unknown model family ${JSON.stringify(modelType.slice(0, 64))}`, {
    code: "unknown-family",
    exit: "invalidInput",
    hint: `Known families: ${families.map((one) => one.modelType).join(", ")}.`,
  });
}

/** Every tensor of an architecture in its form. */
export function listTensors(architecture: Architecture): TensorSpec[] {
  return familyNamed(architecture.family).tensors(architecture);
}

/**
 * The architecture that a parsed config.json describes. Where the names of the checkpoint's tensors are given, it is in the first of
 * the family's forms whose tensors are all among them; if none is, in the one that config.json suggests.
 * Throws `config-invalid`, `unknown-family`.
 */
export function readArchitecture(config: unknown, names?: ReadonlySet<string>): Architecture {
  const family = familyOf(config);
  const suggested = family.architecture(config);
  if (names === undefined || family.forms.length === 1) return suggested;
  const candidates = [suggested.form, ...family.forms.filter((form) => form !== suggested.form)].map((form) => ({ ...suggested, form }));
  return candidates.find((one) => family.tensors(one).every(({ name }) => names.has(name))) ?? suggested;
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

/**
 * How an architecture is computed. Throws `config-not-computable` for one that can only be sliced, naming the family or the settings.
 */
export function requireComputable({ family, form, computation, notComputed }: Architecture): Computation {
  // The engine knows each expert's matrices apart; a fused layout of the same family is sliced only.
  const reasons = [...notComputed, ...(form === "fused" ? ["experts in fused tensors"] : [])];
  if (computation !== undefined && reasons.length === 0) return computation;
  const what = computation === undefined ? `the family ${family}` : `${reasons.join(", ")} of ${family}`;
  throw new ConnitoError(`the engine does not compute ${what}`, {
    code: "config-not-computable",
    exit: "invalidInput",
    hint: "Such a checkpoint can be indexed and sliced; to train or score it, choose one that the engine computes.",
  });
}
