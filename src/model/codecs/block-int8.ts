import { blockElements, dequantizeBlocks, quantizeBlocks } from "../../kernels/block-int8.ts";
import { elementsOf, fromFloat32, toFloat32 } from "../dtype.ts";
import type { Codec } from "./codec.ts";

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
    quantizeBlocks(delta, values, scales);
    return [new Uint8Array(values.buffer), fromFloat32("F32", scales)];
  },

  decode([bytes, scaleBytes], _elements, _seed, into) {
    const { buffer, byteOffset, length } = bytes as Uint8Array;
    const delta = into ?? new Float32Array(length);
    dequantizeBlocks(new Int8Array(buffer, byteOffset, length), toFloat32("F32", scaleBytes as Uint8Array), delta);
    return delta;
  },
};
