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
  /** Of each chunk of 4,096 values of the flattened tensor, how many can be other than 0; absent where all can. */
  readonly kept?: number;
  /** The tensors of the file that hold one delta. Their sizes follow from the delta's shape: what a file claims never decides how much memory is taken. */
  parts(name: string, shape: readonly number[]): StoredPart[];
  /** Their bytes, in the order of `parts`, for a delta of finite values. */
  encode(delta: Float32Array): Uint8Array[];
  /**
   * The delta of `elements` values again, in `into` where that is given; what the bytes say may be NaN or infinite. The lengths are those of `parts`.
   * @throws RangeError for bytes that no delta is encoded as
   */
  decode(parts: readonly Uint8Array[], elements: number, into?: Values): Float32Array;
}
