/**
 * Checkpoints with packed weights, made from ones that have floats: FP8 with block scales as DeepSeek-V3 is published, MXFP4 as gpt-oss is. Each value is rounded
 * to the nearest that the format has under the scale of its block; what is not packed becomes BF16.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openCheckpoint, type StoredTensor } from "../../src/model/checkpoint.ts";
import { type FloatDtype, fromFloat32, toFloat32 } from "../../src/model/dtype.ts";
import { listTensors, readArchitecture } from "../../src/model/families/index.ts";
import { unpackedName } from "../../src/model/families/mxfp4.ts";
import { unpackFp8, unpackMxfp4 } from "../../src/model/packed.ts";
import { writeSafetensors } from "../../src/model/safetensors.ts";

/** What the published configurations say. */
const quantizations = {
  fp8: { activation_scheme: "dynamic", fmt: "e4m3", quant_method: "fp8", weight_block_size: [128, 128] },
  mxfp4: {
    modules_to_not_convert: ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"],
    quant_method: "mxfp4",
  },
} as const;

/** Writes the checkpoint in `from`, whose values are floats, to `to` with packed weights: gpt-oss's experts in MXFP4, any other family's linear maps in FP8. */
export async function packCheckpoint(from: string, to: string, weightBlockSize: readonly [number, number] = [128, 128]): Promise<void> {
  const { config, tokenizer, architecture, tensors } = await openCheckpoint(from);
  const quantization =
    architecture.family === "gpt_oss" ? quantizations.mxfp4 : { ...quantizations.fp8, weight_block_size: weightBlockSize };
  const packedConfig = { ...(config as object), torch_dtype: "bfloat16", quantization_config: quantization };
  const valuesOf = async (name: string) => {
    const { file, offset, bytes, dtype } = tensors.get(name) as StoredTensor;
    return toFloat32(dtype as FloatDtype, Uint8Array.from((await readFile(file)).subarray(offset, offset + bytes)));
  };
  const written: { name: string; dtype: "BF16" | "F8_E4M3" | "F32" | "U8"; shape: readonly number[]; data: Uint8Array }[] = [];
  for (const { name, shape, dtype } of listTensors(readArchitecture(packedConfig))) {
    if (name.endsWith("_scale_inv") || name.endsWith("_scales")) continue;
    const values = await valuesOf(unpackedName(name));
    if (dtype === "F8_E4M3") {
      const { codes, scales, scaleShape } = packFp8(values, shape as [number, number], weightBlockSize);
      written.push({ name, dtype, shape, data: codes });
      written.push({ name: `${name}_scale_inv`, dtype: "F32", shape: scaleShape, data: fromFloat32("F32", scales) });
    } else if (dtype === "U8") {
      const [experts, rows, blocks] = shape as [number, number, number, number];
      const parts = Array.from({ length: experts }, (_, expert) => {
        const each = values.length / experts;
        return packMxfp4(values.subarray(expert * each, (expert + 1) * each), rows);
      });
      const join = (which: "codes" | "scales") => Uint8Array.from(parts.flatMap((part) => [...part[which]]));
      written.push({ name, dtype, shape, data: join("codes") });
      written.push({ name: name.replace(/_blocks$/, "_scales"), dtype, shape: [experts, rows, blocks], data: join("scales") });
    } else written.push({ name, dtype: "BF16", shape, data: fromFloat32("BF16", values) });
  }
  await mkdir(to, { recursive: true });
  await writeFile(join(to, "config.json"), JSON.stringify(packedConfig));
  await writeFile(join(to, "tokenizer.json"), tokenizer);
  await writeSafetensors(join(to, "model.safetensors"), written, { format: "pt" });
}

/** The codes of a format by their value, rising, each value once. */
function codesByValue(values: Float32Array): { readonly code: number; readonly value: number }[] {
  return [...values]
    .map((value, code) => ({ code, value }))
    .filter(({ value }) => Number.isFinite(value) && !Object.is(value, -0))
    .sort((a, b) => a.value - b.value);
}

/** The code whose value is nearest, the lower of two. */
function nearest(codes: ReturnType<typeof codesByValue>, value: number): number {
  let [low, high] = [0, codes.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    const [at, next] = [codes[middle], codes[middle + 1]] as [{ value: number }, { value: number }];
    if (value - at.value <= next.value - value) high = middle;
    else low = middle + 1;
  }
  return codes[low]?.code as number;
}

const fp8 = codesByValue(
  unpackFp8(
    Uint8Array.from({ length: 256 }, (_, code) => code),
    256,
    Float32Array.of(1),
    256,
  ),
);
const largestFp8 = 448;

function packFp8(values: Float32Array, [rows, columns]: readonly [number, number], [blockRows, blockColumns]: readonly [number, number]) {
  const scaleShape = [Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)] as const;
  const blockOf = (at: number) =>
    Math.floor(Math.floor(at / columns) / blockRows) * scaleShape[1] + Math.floor((at % columns) / blockColumns);
  const largest = new Float32Array(scaleShape[0] * scaleShape[1]);
  for (const [at, value] of values.entries()) largest[blockOf(at)] = Math.max(largest[blockOf(at)] as number, Math.abs(value));
  const scales = largest.map((value) => (value === 0 ? 1 : value / largestFp8));
  return { codes: Uint8Array.from(values, (value, at) => nearest(fp8, value / (scales[blockOf(at)] as number))), scales, scaleShape };
}

const fp4 = codesByValue(
  unpackMxfp4(
    Uint8Array.from({ length: 16 }, (_, code) => code),
    Uint8Array.of(127),
    1,
  ).filter((_, at) => at % 2 === 0),
);

/** A matrix [columns, rows], as it stands when it is not packed, in blocks of 32 values of one row. */
function packMxfp4(values: Float32Array, rows: number): { codes: Uint8Array; scales: Uint8Array } {
  const columns = values.length / rows;
  const codes = new Uint8Array(values.length / 2);
  const scales = new Uint8Array(values.length / 32);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column += 32) {
      const block = Float32Array.from({ length: 32 }, (_, at) => values[(column + at) * rows + row] as number);
      const largest = Math.max(...block.map(Math.abs));
      // The largest value of the format is 6, which is 1.5 * 2^2.
      const exponent = largest === 0 ? 0 : Math.floor(Math.log2(largest)) - 2;
      const place = (row * columns + column) / 32;
      scales[place] = exponent + 127;
      for (const [at, value] of block.entries())
        codes[place * 16 + (at >> 1)] =
          (codes[place * 16 + (at >> 1)] as number) | (nearest(fp4, value * 2 ** -exponent) << (at % 2 === 0 ? 0 : 4));
    }
  }
  return { codes, scales };
}
