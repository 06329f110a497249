import assert from "node:assert/strict";
import { mkdtemp, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connito } from "../cli/process.ts";
import { bytesOfTensor, type SmallModel, smallModels, writeSmallModel } from "../model/families/goldens.ts";
import { independentRead } from "../model/support.ts";

const small = ["--layers", "2", "--hidden-size", "32", "--intermediate-size", "16", "--experts", "4"];

describe("model commands", () => {
  let directory: string;
  const run = (...args: string[]) => connito(["model", ...args, "--json"]);
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-model-"));
  });
  after(() => rm(directory, { recursive: true }));

  it("write a checkpoint that inspects to the same root, and the same bytes for the same seed", async () => {
    const [first, second] = [join(directory, "first"), join(directory, "second")];
    const [one, other] = (await Promise.all([run("init", first, ...small), run("init", second, ...small)])).map(({ stdout }) =>
      JSON.parse(stdout),
    );
    assert.equal(one.root, other.root);
    const { stdout, stderr } = await run("inspect", first, "--groups", "2");
    const inspected = JSON.parse(stdout);
    assert.equal(inspected.root, one.root);
    assert.equal(inspected.bytes.total, one.bytes);
    assert.deepEqual([inspected.family, inspected.experts, inspected.layers, inspected.slices[0].expertsPerLayer], ["qwen3_moe", 4, 2, 2]);
    assert.match(stderr, /"event":"succeed","label":"hashing pieces"/);
  });

  it("leave a checkpoint alone that is there, unless forced", async () => {
    const there = join(directory, "there");
    const made = JSON.parse((await run("init", there, ...small)).stdout);
    const refused = await run("init", there, ...small, "--seed", "other");
    assert.deepEqual([refused.code, JSON.parse(refused.stdout).error.code], [13, "checkpoint-exists"]);
    const forced = JSON.parse((await run("init", there, ...small, "--seed", "other", "--force")).stdout);
    assert.notEqual(forced.root, made.root);
  });

  it("write OLMoE as well, and refuse numbers that no model can have", async () => {
    const olmoe = JSON.parse((await run("init", join(directory, "olmoe"), ...small, "--family", "olmoe", "--no-normalize-top-k")).stdout);
    assert.equal(olmoe.family, "olmoe");
    const impossible = await run("init", join(directory, "impossible"), ...small, "--experts-per-token", "5");
    assert.deepEqual([impossible.code, JSON.parse(impossible.stdout).error.code], [13, "config-invalid"]);
  });

  it("convert a checkpoint in FP8 to one in BF16, and leave one alone that is in it", async () => {
    const [packed, plain] = [join(directory, "packed"), join(directory, "plain")];
    await writeSmallModel(packed, smallModels().find(({ name }) => name.includes("FP8")) as SmallModel);
    const before = JSON.parse((await run("inspect", packed)).stdout);
    assert.deepEqual(before.notComputed, ["FP8 weights"]);
    const made = JSON.parse((await run("convert", packed, "--output", plain, "--max-shard-size", "20KB")).stdout);
    assert.ok(made.files > 1 && made.unpacked > 10);
    const inspected = JSON.parse((await run("inspect", plain)).stdout);
    assert.deepEqual([inspected.notComputed, inspected.dtypes.F8_E4M3, inspected.bytes.total], [[], undefined, made.bytes]);
    // What it would come to was known before.
    assert.deepEqual([before.converted, inspected.converted], [{ bytes: made.bytes, slices: inspected.slices }, undefined]);
    const again = await run("convert", plain, "--output", join(directory, "again"));
    assert.deepEqual([again.code, JSON.parse(again.stdout).error.code], [13, "nothing-packed"]);
  });

  describe("slice", () => {
    /** What a group's slice of a made-up model has, by the names of its tensors alone. */
    function expectedSlice({ tensors }: SmallModel, leftOut: string, experts: readonly number[], all: number) {
      const expected = { backbone: {} as Record<string, Uint8Array>, experts: {} as Record<string, Uint8Array> };
      for (const [name, tensor] of Object.entries(tensors)) {
        const bytes = bytesOfTensor(name, tensor);
        const [, rest, expert] = /\.experts\.((\d+)\.)?/.exec(name) ?? [];
        if (name.startsWith(leftOut)) continue;
        if (!name.includes(".experts.")) expected.backbone[name] = bytes;
        else if (rest !== undefined && experts.includes(Number(expert))) expected.experts[name] = bytes;
        else if (rest === undefined) {
          const part = bytes.length / all;
          for (const one of experts) expected.experts[`${name}#${one}`] = bytes.slice(one * part, (one + 1) * part);
        }
      }
      return expected;
    }
    const sum = (tensors: Record<string, Uint8Array>) => Object.values(tensors).reduce((bytes, { length }) => bytes + length, 0);

    for (const { name, groups, group, experts, all, leftOut } of [
      { name: "deepseek_v3, FP8 and a further layer", groups: 4, group: 1, experts: [2, 3], all: 8, leftOut: "model.layers.4." },
      { name: "gpt_oss, MXFP4", groups: 5, group: 4, experts: [4], all: 5, leftOut: "nothing" },
      { name: "jamba", groups: 5, group: 0, experts: [0], all: 5, leftOut: "nothing" },
    ]) {
      it(`writes the backbone and a group's experts of ${name} byte by byte`, async () => {
        const model = smallModels().find((one) => one.name === name) as SmallModel;
        const [base, file] = [join(directory, "to-slice", name), join(directory, "slices", name, "slice.safetensors")];
        await writeSmallModel(base, model);
        const asked = ["--groups", `${groups}`, "--group", `${group}`];
        const [{ stdout }, inspected] = await Promise.all([run("slice", base, ...asked, "--output", file), run("inspect", base)]);
        const sliced = JSON.parse(stdout);
        const { root, bytes } = JSON.parse(inspected.stdout);

        const expected = expectedSlice(model, leftOut, experts, all);
        const { metadata, tensors } = independentRead(file);
        assert.deepEqual(Object.fromEntries(Object.entries(tensors).map(([tensor, { data }]) => [tensor, data])), {
          ...expected.backbone,
          ...expected.experts,
        });
        for (const [tensor, { dtype }] of Object.entries(tensors))
          assert.equal(dtype, model.tensors[tensor.replace(/#\d+$/, "")]?.dtype, tensor);
        assert.deepEqual(metadata, { format: "connito/slice/1", version: root, group: `${group}` });

        const [backbone, own] = [sum(expected.backbone), sum(expected.experts)];
        assert.deepEqual(sliced.bytes, { backbone, experts: own, total: backbone + own, checkpoint: bytes.total });
        assert.equal(backbone + own, bytes.backbone + bytes.routed / groups);
        assert.deepEqual([sliced.root, sliced.experts, sliced.pieces], [root, experts, Object.keys(tensors).length]);
      });
    }

    it("refuses groups that there are not, and a file that is there", async () => {
      const base = join(directory, "refused");
      await run("init", base, ...small);
      const there = join(base, "config.json");
      const slice = (groups: number, group: number, output = join(directory, "never")) =>
        run("slice", base, "--groups", `${groups}`, "--group", `${group}`, "--output", output);
      const refused = await Promise.all([slice(2, 2), slice(3, 0), slice(2, 1, there)]);
      const errors = refused.map(({ stdout }) => JSON.parse(stdout).error);
      assert.deepEqual(
        refused.map(({ code }, index) => [code, errors[index].code, errors[index].hint]),
        [
          [2, "usage", "Groups are counted from 0: give --group 0 to 1."],
          [13, "groups-do-not-divide", "Choose one of 1, 2, 4."],
          [13, "output-exists", "Choose another file, or remove it first."],
        ],
      );
    });
  });

  it("refuse a damaged checkpoint with the rule that it breaks", async () => {
    const damaged = join(directory, "damaged");
    await run("init", damaged, ...small);
    await truncate(join(damaged, "model.safetensors"), 4000);
    const { code, stdout } = await run("inspect", damaged);
    assert.equal(code, 13);
    const { error } = JSON.parse(stdout);
    assert.match(error.code, /^(safetensors|checkpoint)-/);
    assert.ok(error.hint.length > 0);
  });
});
