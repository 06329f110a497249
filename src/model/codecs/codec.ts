import type { Dtype } from "../dtype.ts";
import type { Values } from "../tensors.ts";

export interface StoredPart {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** How a submission stores one tensor's delta. */
export interface Codec {
  readonly name: string;
  /** Of each 4,096 values, how many can be other than 0; absent where all can. */
  readonly kept?: number;
  /**
   * Of a codec that can say only some values of a delta: the index of the i-th of them in a tensor of `elements` values, drawn by `seed`; one in each
   * run of `placeStride` values. Absent where all can be other than 0.
   */
  readonly place?: (seed: number, i: number, elements: number) => number;
  /** The tensors of the file that hold one delta. Their sizes follow from the delta's shape: what a file claims never decides how much memory is taken. */
  parts(name: string, shape: readonly number[]): StoredPart[];
  /** Their bytes, in the order of `parts`, for a delta of finite values. `seed` draws the places, where the codec has such. */
  encode(delta: Float32Array, seed: number): Uint8Array[];
  /**
   * The delta of `elements` values again, in `into` where that is given; what the bytes say may be NaN or infinite. The lengths are those of `parts`.
   * @throws RangeError for bytes that no delta is encoded as
   */
  decode(parts: readonly Uint8Array[], elements: number, seed: number, into?: Values): Float32Array;
}
