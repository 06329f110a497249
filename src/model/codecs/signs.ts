import { placeAt, placeCount, placeStride } from "../../protocol/places.ts";
import { elementsOf, fromFloat32 } from "../dtype.ts";
import type { Codec } from "./codec.ts";

/** Places that share one scale. */
const chunkPlaces = 400;
const chunkBytes = 2 + chunkPlaces / 8;

/** One value in ten, at drawn places, as a sign and a scale for each 400 of them; all others are 0. Of 4,000 values 52 bytes, a 154th of bf16. */
export const signs10: Codec = {
  name: "signs-10",
  kept: Math.ceil(4096 / placeStride),
  place: placeAt,

  parts: (name, shape) => [{ name, dtype: "U8", shape: [bytesOfPlaces(placeCount(elementsOf(shape) ?? Number.NaN))] }],

  encode(delta, seed) {
    const places = placeCount(delta.length);
    const bytes = new Uint8Array(bytesOfPlaces(places));
    const scales = new Float32Array(Math.ceil(places / chunkPlaces));
    for (let chunk = 0; chunk < scales.length; chunk++) {
      const first = chunk * chunkPlaces;
      const last = Math.min(places, first + chunkPlaces);
      const bits = chunk * chunkBytes + 2;
      let sum = 0;
      for (let i = first; i < last; i++) {
        const value = delta[placeAt(seed, i, delta.length)] as number;
        sum += Math.abs(value);
        if (value < 0) bytes[bits + ((i - first) >> 3)]! |= 1 << ((i - first) & 7);
      }
      // The scale that leaves the least squared error.
      scales[chunk] = sum / (last - first);
    }
    const encoded = fromFloat32("BF16", scales);
    for (let chunk = 0; chunk < scales.length; chunk++) bytes.set(encoded.subarray(2 * chunk, 2 * chunk + 2), chunk * chunkBytes);
    return [bytes];
  },

  decode([bytes], elements, seed, into) {
    const encoded = bytes as Uint8Array;
    const places = placeCount(elements);
    if (encoded.length !== bytesOfPlaces(places)) throw new RangeError(`${encoded.length} bytes do not hold ${elements} values`);
    if (places % 8 !== 0 && (encoded.at(-1) as number) >> (places % 8) !== 0) throw new RangeError("a bit is set behind the last place");
    const delta = into?.fill(0) ?? new Float32Array(elements);
    const word = new DataView(new ArrayBuffer(4));
    for (let first = 0, at = 0; first < places; first += chunkPlaces, at += chunkBytes) {
      const last = Math.min(places, first + chunkPlaces);
      if ((encoded[at + 1] as number) >= 0x80) throw new RangeError(`chunk ${first / chunkPlaces}: its scale is negative`);
      word.setUint16(0, ((encoded[at + 1] as number) << 8) | (encoded[at] as number));
      const scale = word.getFloat32(0);
      for (let i = first; i < last; i++) {
        const negative = ((encoded[at + 2 + ((i - first) >> 3)] as number) >> ((i - first) & 7)) & 1;
        delta[placeAt(seed, i, elements)] = negative === 1 ? -scale : scale;
      }
    }
    return delta;
  },
};

function bytesOfPlaces(places: number): number {
  const rest = places % chunkPlaces;
  return ((places - rest) / chunkPlaces) * chunkBytes + (rest === 0 ? 0 : 2 + Math.ceil(rest / 8));
}
