/** The families that are known. A new one is a file beside this and one entry in the list. */
import { ConnitoError } from "../../errors.ts";
import { invalidConfig } from "./config.ts";
import type { Architecture, Family } from "./family.ts";
import { olmoe } from "./olmoe.ts";
import { qwen3Moe } from "./qwen3-moe.ts";

export type { Architecture, Family, Part, TensorSpec } from "./family.ts";

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

/**
 * Refuses an architecture that can be sliced but not computed.
 * Throws `config-not-computable` naming the settings.
 */
export function requireComputable(architecture: Architecture): void {
  if (architecture.notComputed.length === 0) return;
  throw new ConnitoError(`the engine does not compute ${architecture.notComputed.join(", ")} of ${architecture.family}`, {
    code: "config-not-computable",
    exit: "invalidInput",
    hint: "Such a checkpoint can be indexed and sliced; to train or score it, choose one without these settings.",
  });
}
