import assert from "node:assert/strict";
import { describeModel, describeSlice, sizeConfig } from "../../src/model/describe.ts";
import { publishedModels } from "./families/published.ts";
import { failure, tinyConfig } from "./support.ts";

const model = sizeConfig({ ...tinyConfig, dtype: "float32" });

describe("describe model", () => {
  it("adds up, in parameters and in bytes", () => {
    const { parameters, bytes } = describeModel(model);
    // Two layers of four experts with three matrices of 10 by 12.
    assert.equal(parameters.expert, 3 * 120);
    assert.equal(parameters.routed, 8 * 360);
    const attention = 12 * 12 + 2 * 6 * 12 + 12 * 12 + 2 * 6;
    assert.equal(parameters.backbone, 2 * 260 * 12 + 12 + 2 * (attention + 2 * 12 + 4 * 12));
    assert.equal(parameters.active, parameters.backbone + 2 * 2 * 360);
    assert.equal(bytes.total, 4 * parameters.total);
    const slice = describeSlice(model, 2);
    assert.equal(slice.expertsPerLayer, 2);
    assert.equal(slice.experts, bytes.routed / 2);
    // Of four experts, two bits a value.
    assert.equal(slice.standIns, (4 * 360 * 2) / 8);
    assert.equal(describeSlice(model, 2, { kind: "by-use", bits: 3 }).standIns, (4 * 360 * 3) / 8);
    // A row of 12 takes 6 bytes and a scale, one of 10 takes 5 and a scale.
    assert.equal(describeSlice(model, 2, { kind: "q4-32" }).standIns, 4 * (2 * 10 * 8 + 12 * 7));
    assert.equal(slice.total, slice.backbone + slice.experts + slice.standIns);
  });

  it("counts nothing missing in one group, and follows the law in many", () => {
    assert.equal(describeSlice(model, 1).standIns, 0);
    const { bytes } = describeModel(model);
    assert.equal(describeSlice(model, 4).trained, bytes.backbone + bytes.routed / 4);
  });

  it("takes the element type that config.json names, under either name and in a text model's part, else BF16", () => {
    const bytesOf = (config: Record<string, unknown>) => describeModel(sizeConfig(config)).bytes.total;
    const bf16 = bytesOf(tinyConfig);
    assert.equal(bytesOf({ ...tinyConfig, dtype: "float32" }), 2 * bf16);
    assert.equal(bytesOf({ ...tinyConfig, torch_dtype: "float32" }), 2 * bf16);
    assert.equal(bytesOf({ ...tinyConfig, torch_dtype: "float16", dtype: "bfloat16" }), bf16);
    assert.equal(bytesOf({ ...tinyConfig, dtype: 7 }), bf16);
    const scout = publishedModels["Llama-4-Scout"]?.config as Record<string, unknown>;
    const inside = { ...scout, text_config: { ...(scout["text_config"] as object), torch_dtype: "float32" } };
    assert.equal(bytesOf(inside), 2 * bytesOf(scout));
  });

  it("counts packed and scaled weights by their values, with no stand-ins where these cannot be read", () => {
    for (const [name, experts] of [
      ["gpt-oss-20b", "U8"],
      ["DeepSeek-V3", "F8_E4M3"],
    ] as const) {
      const packed = sizeConfig(publishedModels[name]?.config);
      const { parameters, bytes, dtypes } = describeModel(packed);
      assert.ok((dtypes[experts] ?? 0) > 0);
      const perValue = bytes.routed / parameters.routed;
      // Four bits and a byte for 32; a byte and four for 128 by 128.
      assert.ok(Math.abs(perValue - (experts === "U8" ? 4.25 / 8 : 1 + 4 / 128 ** 2)) < 0.002, `${perValue}`);
      const slice = describeSlice(packed, 4);
      assert.equal(slice.standIns, undefined);
      assert.equal(slice.total, bytes.backbone + bytes.routed / 4);
    }
  });

  it("refuses groups that cannot be", () => {
    for (const groups of [0, -1, 3, 5, 1.5, Number.NaN]) assert.throws(() => describeSlice(model, groups), failure("groups-do-not-divide"));
  });
});
