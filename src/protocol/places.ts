/**
 * Where a submission of signs can change a tensor (docs/protocol.md, section 6): one place in each ten, drawn alike by all who train a group
 * in a cycle, so that no index is ever sent and what several miners learned meets at the same places when it is merged.
 */
import { type Hash, hashFields, hashToBytes, u16, u32, utf8 } from "./hash.ts";

/** Values that share one place. */
export const placeStride = 10;

export interface PlaceContext {
  readonly task: Hash;
  readonly cycle: number;
  readonly group: number;
}

/** The seed of the places of the tensor with this piece name. */
export function placesSeed({ task, cycle, group }: PlaceContext, name: string): number {
  const digest = hashToBytes(hashFields("connito/places/1", hashToBytes(task), u32(cycle), u16(group), utf8(name)));
  return new DataView(digest.buffer, digest.byteOffset).getUint32(0, true);
}

/** How many places a tensor of so many elements has. */
export function placeCount(elements: number): number {
  return Math.ceil(elements / placeStride);
}

/** The place among values `10 i` to `10 i + 9`, of which there are fewer at the end of `elements`. */
export function placeAt(seed: number, i: number, elements: number): number {
  const first = i * placeStride;
  const width = Math.min(placeStride, elements - first);
  return first + Math.floor((mixed((seed + Math.imul(i, 0x9e3779b9)) | 0) * width) / 2 ** 32);
}

/** The finalizer of MurmurHash3 (32 bits): every bit of the input moves every bit of the result. */
export function mixed(value: number): number {
  let x = value;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
