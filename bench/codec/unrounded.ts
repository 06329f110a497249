/** What a codec of drawn places would keep if it rounded nothing: the values at the places of `signs-10`, as they are. For the benchmark only. */
import { type Codec, codecNamed } from "../../src/model/codecs/index.ts";
import { fromFloat32, toFloat32 } from "../../src/model/dtype.ts";
import { placeCount } from "../../src/protocol/places.ts";

const place = codecNamed("signs-10").place as NonNullable<Codec["place"]>;
const placesOf = (seed: number, elements: number) => Uint32Array.from({ length: placeCount(elements) }, (_, i) => place(seed, i, elements));

export const unrounded: Codec = {
  name: "one value in ten, not rounded",
  place,
  parts: (name, shape) => [{ name, dtype: "F32", shape: [placeCount(shape.reduce((product, length) => product * length, 1))] }],
  encode: (delta, seed) => [
    fromFloat32(
      "F32",
      Float32Array.from(placesOf(seed, delta.length), (at) => delta[at] as number),
    ),
  ],
  decode([bytes], elements, seed, into) {
    const delta = into?.fill(0) ?? new Float32Array(elements);
    const values = toFloat32("F32", bytes as Uint8Array);
    for (const [i, at] of placesOf(seed, elements).entries()) delta[at] = values[i] as number;
    return delta;
  },
};
