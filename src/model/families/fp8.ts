/**
 * Weights in FP8 with block scales, as DeepSeek-V3 is published and others since: beside `NAME.weight`, F8_E4M3, stands
 * `NAME.weight_scale_inv`, by whose elements the blocks of the weight are multiplied. Both are pieces of the same expert. Nothing here
 * looks at their values.
 */
import { sharedShape } from "../shared-shape.ts";
import type { TensorSpec } from "./family.ts";

/** The name of a weight's scales. */
export function scaleNameOf(name: string): string {
  return `${name}_scale_inv`;
}

/** What published checkpoints have in FP8: all linear maps but the router and the head. */
export function isUsuallyFp8({ name, shape, part }: TensorSpec): boolean {
  return shape.length === 2 && name.endsWith(".weight") && part !== "embedding" && part !== "router" && part !== "head";
}

/** The list with a scale after each weight that has one. */
export function withBlockScales(
  specs: readonly TensorSpec[],
  [rows, columns]: readonly [rows: number, columns: number],
  hasScale: (spec: TensorSpec) => boolean,
): TensorSpec[] {
  return specs.flatMap((spec) => {
    const [out, width] = spec.shape;
    if (spec.shape.length !== 2 || out === undefined || width === undefined || !hasScale(spec)) return [spec];
    const shape = sharedShape([Math.ceil(out / rows), Math.ceil(width / columns)]);
    const scale = { ...spec, name: scaleNameOf(spec.name), shape, part: undefined, parametersPerElement: 0 };
    return [{ ...spec, dtype: "F8_E4M3" }, scale];
  });
}
