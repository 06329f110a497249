import assert from "node:assert/strict";
import { convertedConfig } from "../../../src/model/convert.ts";
import { describeModel, sizeConfig } from "../../../src/model/describe.ts";
import { elementsOf } from "../../../src/model/dtype.ts";
import {
  creatableFamilies,
  families,
  familyNamed,
  familyOf,
  listTensors,
  readArchitecture,
  requireComputable,
  type TensorSpec,
  whyNotComputable,
} from "../../../src/model/families/index.ts";
import { failure, newConfig } from "../support.ts";
import { type PublishedModel, publishedModels } from "./published.ts";

const isKnown = (modelType: string) => families.some((one) => one.modelType === modelType);
const configOf = (model: string) => (publishedModels[model] as PublishedModel).config;
const qwen30 = configOf("Qwen3-30B-A3B");
const olmoe = configOf("OLMoE-1B-7B");

describe("families", () => {
  for (const [name, { config, expertLayers, total, active, tensors }] of Object.entries(publishedModels)) {
    if (!isKnown(config.model_type)) continue;
    it(`counts the published layers and parameters of ${name}`, () => {
      const architecture = readArchitecture(config);
      assert.equal(architecture.expertLayers.length, expertLayers);
      const { parameters } = describeModel(sizeConfig(config));
      assert.ok(Math.abs(parameters.total / 1e9 - total) < total * 1e-3, `${parameters.total}`);
      assert.ok(Math.abs(parameters.active / 1e9 - active) < active * 0.015, `${parameters.active}`);
      if (tensors !== undefined) assert.equal(listTensors(architecture).length, tensors);
    });
  }

  it("computes published models of the families that are computed, once they are unpacked", () => {
    for (const [name, { config }] of Object.entries(publishedModels)) {
      const { family } = readArchitecture(config);
      const reasons = creatableFamilies.includes(family) ? [] : [`the family ${family}`];
      assert.deepEqual(whyNotComputable(readArchitecture(convertedConfig(config))), reasons, name);
    }
  });

  it("has a published model of every family", () => {
    const models = Object.values(publishedModels).map(({ config }) => config.model_type);
    for (const { modelType } of families) assert.ok(models.includes(modelType), modelType);
  });

  it("names Qwen3-30B-A3B's tensors as its checkpoint does", () => {
    const specs = [...familyNamed("qwen3_moe").tensors(familyNamed("qwen3_moe").architecture(qwen30))];
    const byName = new Map(specs.map((spec) => [spec.name, spec]));
    assert.equal(byName.size, 18_867);
    const { name, shape, role, part, layer, expert } = byName.get("model.layers.47.mlp.experts.127.down_proj.weight") as TensorSpec;
    assert.equal(name, "model.layers.47.mlp.experts.127.down_proj.weight");
    assert.deepEqual(
      { shape, role, part, layer, expert },
      { shape: [2048, 768], role: "expert", part: "expert.down", layer: 47, expert: 127 },
    );
    assert.deepEqual(byName.get("model.layers.0.self_attn.q_norm.weight")?.shape, [128]);
    assert.deepEqual(byName.get("model.layers.0.self_attn.o_proj.weight")?.shape, [2048, 4096]);
    assert.deepEqual(byName.get("model.layers.3.mlp.gate.weight")?.shape, [128, 2048]);
    assert.deepEqual(byName.get("lm_head.weight")?.shape, [151936, 2048]);
  });

  it("names OLMoE's norms over the full width", () => {
    const specs = [...familyNamed("olmoe").tensors(familyNamed("olmoe").architecture(olmoe))];
    assert.deepEqual(specs.find((spec) => spec.part === "attention.queryNorm")?.shape, [2048]);
    assert.equal(specs.length, 16 * (9 + 64 * 3) + 3);
  });

  it("has layers without experts where Qwen3-MoE's configuration says so, and no head where it is tied", () => {
    const family = familyNamed("qwen3_moe");
    const architecture = family.architecture({
      ...qwen30,
      num_hidden_layers: 6,
      decoder_sparse_step: 2,
      mlp_only_layers: [3],
      tie_word_embeddings: true,
    });
    assert.deepEqual(architecture.expertLayers, [1, 5]);
    const specs = [...family.tensors(architecture)];
    assert.deepEqual(specs.find((spec) => spec.name === "model.layers.3.mlp.up_proj.weight")?.shape, [6144, 2048]);
    assert.ok(!specs.some((spec) => spec.name.startsWith("model.layers.3.mlp.experts")));
    assert.ok(!specs.some((spec) => spec.part === "head"));
  });

  it("understands what recent writers call RoPE's base", () => {
    const family = familyNamed("olmoe");
    const { rope_theta: _, ...rest } = olmoe;
    // The second frequency of heads of 128 columns is base^(-2 / 128).
    const theta = (config: object) => (family.architecture(config).computation?.rope.frequencies[1] ?? 0) ** -64;
    assert.ok(Math.abs(theta(rest) / 10_000 - 1) < 1e-4);
    assert.ok(Math.abs(theta({ ...rest, rope_parameters: { rope_theta: 5e5, rope_type: "default" } }) / 5e5 - 1) < 1e-4);
    assert.deepEqual(family.architecture({ ...rest, rope_parameters: { rope_theta: 5e5, rope_type: "other" } }).notComputed, [
      "rope_scaling of type other",
    ]);
  });

  it("slices what the engine does not compute, and says so before it is computed", () => {
    const read = (config: Record<string, unknown>) => familyOf(config).architecture(config);
    requireComputable(read(qwen30));
    assert.throws(() => requireComputable(read({ ...qwen30, rope_scaling: { type: "llama3" } })), failure("config-not-computable"));
    assert.throws(() => requireComputable(read({ ...qwen30, rope_scaling: { type: "toString" } })), failure("config-not-computable"));
  });

  for (const family of families) {
    if (family.newConfig === undefined) continue;
    it(`${family.modelType}: every tensor once, experts with layer and expert, all with elements`, () => {
      const architecture = readArchitecture(newConfig(family.modelType));
      for (const form of family.forms) {
        const specs = [...family.tensors({ ...architecture, form })];
        assert.equal(new Set(specs.map((spec) => spec.name)).size, specs.length);
        for (const spec of specs) {
          assert.ok((elementsOf(spec.shape) ?? 0) > 0, spec.name);
          assert.equal(spec.role === "expert", spec.expert !== undefined || spec.fusedExperts !== undefined, spec.name);
          if (spec.role === "expert") assert.ok(spec.layer !== undefined && architecture.expertLayers.includes(spec.layer));
        }
      }
    });
  }

  const refusals: [string, Record<string, unknown>, string][] = [
    ["config-invalid", { ...qwen30, hidden_size: "2048" }, "hidden_size"],
    ["config-invalid", { ...qwen30, hidden_size: 2048.5 }, "hidden_size"],
    ["config-invalid", { ...qwen30, hidden_size: 1e30 }, "hidden_size"],
    ["config-invalid", { ...qwen30, num_hidden_layers: 0 }, "num_hidden_layers"],
    ["config-invalid", { ...qwen30, num_hidden_layers: 1e9 }, "num_hidden_layers"],
    ["config-invalid", { ...qwen30, num_experts: 60_000, num_hidden_layers: 4000 }, "num_experts"],
    ["config-invalid", { ...qwen30, num_experts_per_tok: 129 }, "num_experts_per_tok"],
    ["config-invalid", { ...qwen30, num_key_value_heads: 5 }, "num_key_value_heads"],
    ["config-invalid", { ...qwen30, num_key_value_heads: undefined }, "num_key_value_heads"],
    ["config-invalid", { ...qwen30, head_dim: 3 }, "head_dim"],
    ["config-invalid", { ...qwen30, head_dim: null, hidden_size: 16 }, "head_dim"],
    ["config-invalid", { ...qwen30, num_attention_heads: 2 ** 20, num_key_value_heads: 1, head_dim: 2 ** 20 }, "num_attention_heads"],
    ["config-invalid", { ...qwen30, mlp_only_layers: [...Array(48).keys()] }, "no layer has experts"],
    ["config-invalid", { ...qwen30, mlp_only_layers: [0], intermediate_size: undefined }, "intermediate_size"],
    ["config-invalid", { ...qwen30, attention_bias: 1 }, "attention_bias"],
    ["config-invalid", { ...qwen30, hidden_act: "gelu" }, "hidden_act"],
    ["config-invalid", { ...qwen30, rms_norm_eps: 0 }, "rms_norm_eps"],
    ["config-invalid", { ...qwen30, norm_topk_prob: 1 }, "norm_topk_prob"],
    ["config-invalid", { ...configOf("DeepSeek-V3"), qk_rope_head_dim: 2 ** 24 }, "num_attention_heads"],
    ["config-invalid", { ...configOf("DeepSeek-V2"), qk_rope_head_dim: 63 }, "head_dim"],
    ["config-invalid", { ...olmoe, num_attention_heads: 15, num_key_value_heads: 15 }, "num_attention_heads"],
    ["config-invalid", { ...olmoe, vocab_size: -1 }, "vocab_size"],
    ["config-invalid", { model_type: 7 }, "model_type"],
    ["config-invalid", {}, "model_type"],
    ["unknown-family", { model_type: "gpt2" }, "gpt2"],
    ["unknown-family", { model_type: "toString" }, "toString"],
  ];
  for (const [code, config, named] of refusals) {
    it(`refuses a configuration and names ${named}`, () => {
      const read = () => familyOf(config).architecture(config);
      assert.throws(read, failure(code));
      assert.throws(read, (error: Error) => error.message.includes(named));
    });
  }

  it("refuses documents that are no objects", () => {
    for (const config of [null, undefined, [], "qwen3_moe", 7]) assert.throws(() => familyOf(config), failure("config-invalid"));
  });
});
