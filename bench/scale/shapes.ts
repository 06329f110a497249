/** The two published models whose shapes the scale benchmark makes: their configurations, and their files as holes. */
import { createHash, type Hash as Hasher } from "node:crypto";
import { closeSync, ftruncateSync, openSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Dtype } from "../../src/model/dtype.ts";
import { listTensors, readArchitecture, type TensorSpec } from "../../src/model/families/index.ts";
import { createManifest, type Manifest } from "../../src/model/manifest.ts";
import type { Piece } from "../../src/model/pieces.ts";
import { layOut } from "../../src/model/safetensors.ts";
import { jsonFile } from "../../src/model/write-checkpoint.ts";

export interface Shape {
  readonly config: Record<string, unknown>;
  readonly groups: number;
}

export const shapes: Readonly<Record<string, Shape>> = {
  "Qwen3-235B-A22B": {
    groups: 64,
    config: {
      model_type: "qwen3_moe",
      vocab_size: 151_936,
      hidden_size: 4096,
      num_hidden_layers: 94,
      num_attention_heads: 64,
      num_key_value_heads: 4,
      head_dim: 128,
      moe_intermediate_size: 1536,
      intermediate_size: 12_288,
      num_experts: 128,
      num_experts_per_tok: 8,
      norm_topk_prob: true,
      decoder_sparse_step: 1,
      mlp_only_layers: [],
      rms_norm_eps: 1e-6,
      rope_theta: 1_000_000,
      tie_word_embeddings: false,
      hidden_act: "silu",
    },
  },
  "DeepSeek-V3": {
    groups: 64,
    config: {
      model_type: "deepseek_v3",
      vocab_size: 129_280,
      hidden_size: 7168,
      num_hidden_layers: 61,
      num_attention_heads: 128,
      num_key_value_heads: 128,
      intermediate_size: 18_432,
      moe_intermediate_size: 2048,
      n_routed_experts: 256,
      n_shared_experts: 1,
      num_experts_per_tok: 8,
      n_group: 8,
      topk_group: 4,
      norm_topk_prob: true,
      routed_scaling_factor: 2.5,
      first_k_dense_replace: 3,
      moe_layer_freq: 1,
      q_lora_rank: 1536,
      kv_lora_rank: 512,
      qk_nope_head_dim: 128,
      qk_rope_head_dim: 64,
      v_head_dim: 128,
      rms_norm_eps: 1e-6,
      rope_theta: 10_000,
      tie_word_embeddings: false,
      hidden_act: "silu",
      quantization_config: { quant_method: "fp8", fmt: "e4m3", weight_block_size: [128, 128] },
    },
  },
};

const shardBytes = 4.5e9;
const stampBytes = 32;

function dtypeOf({ name, dtype }: TensorSpec): Dtype {
  return dtype ?? (name.endsWith("_scale_inv") || name.endsWith("correction_bias") ? "F32" : "BF16");
}

export interface MadeModel {
  readonly manifest: Manifest;
  readonly bytes: number;
  readonly shards: number;
}

/**
 * Writes the checkpoint: real names, real byte counts, real headers and index; the data are holes, but for the last 32 bytes of each
 * tensor, so that no two are alike. Its manifest is made by hashing the zeros of each length once and adding each tensor's end.
 */
export function makeModel(directory: string, { config }: Shape): MadeModel {
  const configBytes = jsonFile(config);
  const tokenizer = jsonFile({});
  writeFileSync(join(directory, "config.json"), configBytes);
  writeFileSync(join(directory, "tokenizer.json"), tokenizer);
  const tensors = listTensors(readArchitecture(config)).map((spec) => {
    const dtype = dtypeOf(spec);
    return { spec, name: spec.name, dtype, shape: spec.shape };
  });
  const pieces: Piece[] = [];
  const zeros = createZeros();
  const weightMap: Record<string, string> = {};
  const inShards: (typeof tensors)[] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    const bytes = bytesOf(tensor);
    if (filled + bytes > shardBytes && filled > 0) {
      inShards.push([]);
      filled = 0;
    }
    inShards.at(-1)?.push(tensor);
    filled += bytes;
  }
  let total = 0;
  for (const [index, own] of inShards.entries()) {
    const file = `model-${String(index + 1).padStart(5, "0")}-of-${String(inShards.length).padStart(6, "0")}.safetensors`;
    const { ordered, header, offsets, total: fileBytes } = layOut(own, { format: "pt" });
    const descriptor = openSync(join(directory, file), "w");
    writeSync(descriptor, header);
    ftruncateSync(descriptor, fileBytes);
    for (const [at, tensor] of ordered.entries()) {
      const { spec, name, dtype, shape } = tensor;
      const bytes = bytesOf(tensor);
      const stamp = createHash("sha256").update(name).digest();
      writeSync(descriptor, stamp, 0, stampBytes, (offsets[at] as number) + bytes - stampBytes);
      weightMap[name] = file;
      const { role, layer, expert } = spec;
      const ofExpert = role === "expert" && layer !== undefined && expert !== undefined ? { layer, expert } : {};
      pieces.push({ role, name, dtype, shape, bytes, hash: zeros.endingWith(stamp, bytes), ...ofExpert });
      total += bytes;
    }
    closeSync(descriptor);
    // Files that have just been written are not taken as they were noted.
    utimesSync(join(directory, file), 1000, 1000);
  }
  writeFileSync(join(directory, "model.safetensors.index.json"), jsonFile({ metadata: { total_size: total }, weight_map: weightMap }));
  const hashOf = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");
  return { manifest: createManifest(hashOf(configBytes), hashOf(tokenizer), pieces), bytes: total, shards: inShards.length };
}

function bytesOf({ dtype, shape }: { dtype: Dtype; shape: readonly number[] }): number {
  const width = dtype === "F8_E4M3" ? 1 : dtype === "BF16" ? 2 : 4;
  return width * shape.reduce((product, length) => product * length, 1);
}

function createZeros(): { endingWith(stamp: Uint8Array, bytes: number): string } {
  const block = new Uint8Array(1 << 20);
  const states = new Map<number, Hasher>();
  const stateOf = (bytes: number): Hasher => {
    const state = createHash("sha256");
    for (let done = 0; done < bytes; done += block.length) state.update(block.subarray(0, Math.min(block.length, bytes - done)));
    return state;
  };
  return {
    endingWith(stamp, bytes) {
      const state = states.get(bytes) ?? stateOf(bytes - stamp.length);
      states.set(bytes, state);
      return state.copy().update(stamp).digest("hex");
    },
  };
}
