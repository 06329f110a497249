import assert from "node:assert/strict";
import { tensorsOf } from "../../../src/model/tensors.ts";
import { stream } from "../../../src/protocol/random.ts";
import { compareSubmissions, isNearCopy, type Sketched } from "../../../src/steps/evaluate/near-copies.ts";
import { hash } from "../../protocol/support.ts";

/** A delta of two tensors with values from a stream, nearly normal. */
function delta(name: string): Map<string, Float32Array> {
  const random = stream(hash(name));
  const values = (count: number) =>
    Float32Array.from(
      { length: count },
      () => Array.from({ length: 6 }, () => random.uniform(1_000)).reduce((a, b) => a + b, -2_997) / 1e6,
    );
  return new Map([
    ["one", values(1_500)],
    ["two", values(500)],
  ]);
}

const scaled = (of: ReadonlyMap<string, Float32Array>, by: number) =>
  new Map([...of].map(([name, values]) => [name, values.map((x) => by * x)]));
const plus = (a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>) =>
  new Map([...a].map(([name, values]) => [name, values.map((x, i) => x + ((b.get(name) as Float32Array)[i] as number))]));

const submission = (miner: string, block: number, deltas: Map<string, Float32Array>, group = 0): Sketched => ({
  miner,
  group,
  commit: { hotkey: miner, block, extrinsicIndex: 0 },
  deltas: tensorsOf(deltas),
});
const original = delta("original");

describe("near copies", () => {
  it("are told by the earlier commit, whatever the order in which submissions come", async () => {
    const [first, copy] = [submission("first", 10, original), submission("copy", 11, scaled(original, 1.5))];
    for (const order of [
      [first, copy],
      [copy, first],
    ]) {
      const found = await compareSubmissions(hash("seed"), order);
      assert.deepEqual([...found.keys()], ["copy"]);
      assert.deepEqual([found.get("copy")?.level, found.get("copy")?.likeness.like], ["certain", ["first"]]);
    }
  });

  it("are not looked for in another group, nor among honest work", async () => {
    const others = ["a", "b", "c"].map((name, index) => submission(name, 10 + index, delta(name)));
    const elsewhere = submission("copy", 20, original, 1);
    const found = await compareSubmissions(hash("seed"), [submission("first", 1, original), ...others, elsewhere]);
    assert.deepEqual(
      [...found].map(([miner, { level }]) => [miner, level]),
      [
        ["a", "clear"],
        ["b", "clear"],
        ["c", "clear"],
      ],
    );
  });

  it("are decided by what the rest gains where they are suspect", async () => {
    const own = delta("own");
    const found = await compareSubmissions(hash("seed"), [submission("first", 1, original), submission("later", 2, plus(original, own))]);
    const suspicion = found.get("later");
    assert.ok(suspicion);
    assert.equal(suspicion.level, "suspect");
    // The rest is the later's own part, nearly: the two share nothing else.
    const rest = await suspicion.rest.read("one");
    const expected = own.get("one") as Float32Array;
    const error = rest.reduce((sum, value, i) => sum + (value - (expected[i] as number)) ** 2, 0);
    assert.ok(error < 0.02 * expected.reduce((sum, value) => sum + value * value, 0));

    assert.ok(suspicion.likeness.share > 0.65 && suspicion.likeness.share < 0.75);
    assert.deepEqual(isNearCopy(suspicion, 1, 0.05), { copy: true, likeness: { ...suspicion.likeness, gainOfRest: 0.05 } });
    assert.equal(isNearCopy(suspicion, 1, 0.5).copy, false);
    assert.deepEqual(isNearCopy(suspicion, 1, Number.NaN), { copy: true, likeness: suspicion.likeness });
  });
});
