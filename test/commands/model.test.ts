import assert from "node:assert/strict";
import { mkdtemp, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connito } from "../cli/process.ts";
import { type SmallModel, smallModels, writeSmallModel } from "../model/families/goldens.ts";

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
