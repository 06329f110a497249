import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { toFloat32 } from "../../src/model/dtype.ts";
import { families, readArchitecture } from "../../src/model/families/index.ts";
import { indexCheckpoint } from "../../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../../src/model/initialize.ts";
import { manifestRoot } from "../../src/model/manifest.ts";
import { failure, inDirectory, independentRead, newConfig, tinyConfig } from "./support.ts";

describe("initialize", () => {
  for (const family of families.filter((one) => one.newConfig !== undefined)) {
    it(`makes a ${family.modelType} checkpoint that opens, the same for the same seed`, () =>
      inDirectory(async (directory) => {
        const config = newConfig(family.modelType);
        const roots = [];
        for (const [name, seed] of [
          ["a", "one"],
          ["b", "one"],
          ["c", "two"],
        ] as const) {
          const checkpoint = await initializeCheckpoint({ directory: join(directory, name), config, seed });
          assert.deepEqual(checkpoint.architecture, readArchitecture(config));
          roots.push(manifestRoot((await indexCheckpoint(checkpoint)).manifest));
        }
        assert.equal(roots[0], roots[1]);
        assert.notEqual(roots[0], roots[2]);
        assert.deepEqual(readdirSync(join(directory, "a")).sort(), [
          "config.json",
          "model.safetensors",
          "tokenizer.json",
          "tokenizer_config.json",
        ]);
      }));
  }

  it("draws values that are nearly normal, no two tensors alike, and norms of one", () =>
    inDirectory(async (directory) => {
      await initializeCheckpoint({ directory, config: newConfig("qwen3_moe", { hiddenSize: 64 }), seed: "s" });
      const { tensors, metadata } = independentRead(join(directory, "model.safetensors"));
      assert.deepEqual(metadata, { format: "pt" });
      const values = (name: string) => toFloat32("F32", tensors[name]?.data ?? new Uint8Array());
      for (const name of ["model.norm.weight", "model.layers.1.self_attn.q_norm.weight"])
        assert.ok(values(name).every((value) => value === 1));
      const embedding = values("model.embed_tokens.weight");
      const mean = embedding.reduce((sum, value) => sum + value, 0) / embedding.length;
      const deviation = Math.sqrt(embedding.reduce((sum, value) => sum + (value - mean) ** 2, 0) / embedding.length);
      const kurtosis = embedding.reduce((sum, value) => sum + ((value - mean) / deviation) ** 4, 0) / embedding.length;
      assert.ok(Math.abs(mean) < 4 * (0.02 / Math.sqrt(embedding.length)), `${mean}`);
      assert.ok(Math.abs(deviation - 0.02) < 4e-4, `${deviation}`);
      assert.ok(kurtosis > 2.5 && kurtosis < 3, `${kurtosis}`);
      const firsts = new Set(Object.keys(tensors).map((name) => values(name)[0]));
      assert.equal(firsts.size, Object.keys(tensors).length - 9 + 1, "nine norms begin alike");
    }));

  it("writes a tokenizer that others read: one token a byte, the end of a text, and back", () =>
    inDirectory(async (directory) => {
      await initializeCheckpoint({ directory, config: tinyConfig, seed: "s" });
      const read = (name: string) => JSON.parse(readFileSync(join(directory, name), "utf8"));
      const tokenizer = new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
      const everything = String.fromCodePoint(...Array.from({ length: 0x800 }, (_, code) => code));
      for (const text of ["To be, or not to be?\n\n  ...", "naïve 😀 \u0000\r\t", everything]) {
        const { ids } = tokenizer.encode(text);
        assert.deepEqual(Uint8Array.from(ids), new TextEncoder().encode(text));
        assert.equal(tokenizer.decode(ids), text);
      }
      assert.deepEqual(tokenizer.encode("a<|endoftext|>b").ids, [97, 256, 98]);
    }));

  it("keeps a tokenizer that is given", () =>
    inDirectory(async (directory) => {
      const tokenizer = new TextEncoder().encode("{}");
      const checkpoint = await initializeCheckpoint({
        directory,
        config: newConfig("qwen3_moe", { vocabularySize: 8 }),
        seed: "s",
        tokenizer,
      });
      assert.deepEqual(checkpoint.tokenizer, tokenizer);
      assert.equal((checkpoint.config as Record<string, unknown>)["eos_token_id"], undefined);
    }));

  it("refuses what the family cannot say, and too small a vocabulary, before it writes anything", () =>
    inDirectory(async (directory) => {
      const initialize = (changes: object) => initializeCheckpoint({ directory, config: { ...tinyConfig, ...changes }, seed: "s" });
      await assert.rejects(initialize({ model_type: "bert" }), failure("unknown-family"));
      await assert.rejects(initialize({ hidden_size: 0 }), failure("config-invalid"));
      await assert.rejects(initialize({ vocab_size: 256 }), failure("vocabulary-too-small"));
      assert.deepEqual(readdirSync(directory), []);
    }));
});
