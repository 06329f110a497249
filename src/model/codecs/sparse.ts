import { decodeSparse, encodeSparse, type SparseForm, sparseBytes } from "../../kernels/sparse.ts";
import { elementsOf } from "../dtype.ts";
import type { Codec } from "./codec.ts";

/** Of each 4,096 values the largest `kept`, as a sign and one of two magnitudes; all others are 0. The bytes follow from the shape alone. */
function sparse(name: string, form: SparseForm): Codec {
  return {
    name,
    kept: form.kept,
    parts: (tensor, shape) => [{ name: tensor, dtype: "U8", shape: [sparseBytes(form, elementsOf(shape) ?? Number.NaN)] }],
    encode: (delta) => [encodeSparse(form, delta)],
    decode: ([bytes], elements, into) => decodeSparse(form, bytes as Uint8Array, elements, into),
  };
}

/** 1 value in 105: 54 bytes for each 4,096 values, a 151st of bf16. */
export const sparse1 = sparse("sparse-1", { kept: 39, lowBits: 6 });

/** 1 value in 20: a 38th of bf16. */
export const sparse5 = sparse("sparse-5", { kept: 205, lowBits: 4 });
