/** How an owner copies all experts for those who lack them. */
import { type Architecture, isPacked, whyNotComputable } from "./families/index.ts";

/** By use, with so many bits a value on average of what any group lacks; or every expert in `q4-32`. */
export type StandInPolicy = { readonly kind: "by-use"; readonly bits: number } | { readonly kind: "q4-32" };

/** An eighth of bf16: what keeps nearly all of a miner's gain (docs/performance.md). */
export const defaultStandInBits = 2;

/** By use wherever the engine can measure the use. */
export function defaultPolicy(architecture: Architecture): StandInPolicy {
  const measurable = !isPacked(architecture) && whyNotComputable(architecture).length === 0;
  return measurable ? { kind: "by-use", bits: defaultStandInBits } : { kind: "q4-32" };
}
