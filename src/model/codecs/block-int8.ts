import { elementsOf, fromFloat32, roundHalfEven, toFloat32 } from "../dtype.ts";
import type { Codec } from "./codec.ts";

/** Values that share one scale. */
export const blockElements = 256;

/** 8 bits a value and an fp32 scale for each 256: an absolute error of half the scale, `max|x| / 254`, and what fp32 rounds. */
export const blockInt8: Codec = {
  name: "block-int8",

  parts: (name, shape) => [
    { name, dtype: "I8", shape },
    { name: `${name}.scales`, dtype: "F32", shape: [Math.ceil((elementsOf(shape) ?? Number.NaN) / blockElements)] },
  ],

  encode(delta) {
    const values = new Int8Array(delta.length);
    const scales = new Float32Array(Math.ceil(delta.length / blockElements));
    for (let block = 0; block < scales.length; block++) {
      const first = block * blockElements;
      const last = Math.min(delta.length, first + blockElements);
      let largest = 0;
      for (let index = first; index < last; index++) largest = Math.max(largest, Math.abs(delta[index] as number));
      const scale = Math.fround(largest / 127);
      scales[block] = scale;
      if (scale === 0) continue;
      for (let index = first; index < last; index++) {
        values[index] = roundHalfEven(Math.max(-127, Math.min(127, (delta[index] as number) / scale)));
      }
    }
    return [new Uint8Array(values.buffer), fromFloat32("F32", scales)];
  },

  decode([bytes, scaleBytes]) {
    const values = bytes as Uint8Array;
    const scales = toFloat32("F32", scaleBytes as Uint8Array);
    const delta = new Float32Array(values.length);
    for (let index = 0; index < values.length; index++) {
      delta[index] = (((values[index] as number) << 24) >> 24) * (scales[Math.floor(index / blockElements)] as number);
    }
    return delta;
  },
};
