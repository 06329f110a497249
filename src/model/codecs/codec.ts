import type { Dtype } from "../dtype.ts";

export interface StoredPart {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** How a submission stores one tensor's delta. */
export interface Codec {
  readonly name: string;
  /** The tensors of the file that hold one delta. */
  parts(name: string, shape: readonly number[]): StoredPart[];
  /** Their bytes, in the order of `parts`. */
  encode(delta: Float32Array): Uint8Array[];
  /** The delta again; what the bytes say may be NaN or infinite. The lengths are those of `parts`. */
  decode(parts: readonly Uint8Array[]): Float32Array;
}
