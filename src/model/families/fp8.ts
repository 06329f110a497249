/**
 * Weights in FP8 with block scales, as DeepSeek-V3 is published and others since: beside `NAME.weight`, F8_E4M3, stands
 * `NAME.weight_scale_inv`, by whose elements the blocks of the weight are multiplied. Both are pieces of the same expert. Nothing here
 * looks at their values.
 */
import { sharedShape } from "../shared-shape.ts";
import type { TensorSpec } from "./family.ts";

/** The name of a weight's scales. */
export function scaleNameOf(name: string): string {
  // Joined, since it is kept: a template would keep its parts as well.
  return [name, "scale_inv"].join("_");
}

/** What published checkpoints have in FP8: all linear maps but the router and the head. */
export function isUsuallyFp8({ name, shape, part }: TensorSpec): boolean {
  return shape.length === 2 && name.endsWith(".weight") && part !== "embedding" && part !== "router" && part !== "head";
}

/** The list with a scale after each weight that has one; `hasScale` is told the scale's name. */
export function* withBlockScales(
  specs: Iterable<TensorSpec>,
  [rows, columns]: readonly [rows: number, columns: number],
  hasScale: (spec: TensorSpec, scaleName: string) => boolean,
): Generator<TensorSpec> {
  for (const spec of specs) {
    const [out, width] = spec.shape;
    const name = scaleNameOf(spec.name);
    if (spec.shape.length !== 2 || out === undefined || width === undefined || !hasScale(spec, name)) {
      yield spec;
      continue;
    }
    const { role, layer, part, expert, fusedExperts, parametersPerElement } = spec;
    yield { name: spec.name, shape: spec.shape, role, layer, part, expert, fusedExperts, dtype: "F8_E4M3", parametersPerElement };
    const shape = sharedShape([Math.ceil(out / rows), Math.ceil(width / columns)]);
    yield { name, shape, role, layer, part: undefined, expert, fusedExperts, dtype: spec.dtype, parametersPerElement: 0 };
  }
}
