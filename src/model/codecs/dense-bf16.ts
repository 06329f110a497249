import { fromFloat32, toFloat32 } from "../dtype.ts";
import type { Codec } from "./codec.ts";

/** Every value rounded to bf16: a relative error of at most 2^-9. */
export const denseBf16: Codec = {
  name: "dense-bf16",
  parts: (name, shape) => [{ name, dtype: "BF16", shape }],
  encode: (delta) => [fromFloat32("BF16", delta)],
  decode: ([values], _elements, _seed, into) => toFloat32("BF16", values as Uint8Array, into),
};
