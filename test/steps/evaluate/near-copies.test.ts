import assert from "node:assert/strict";
import { tensorsOf } from "../../../src/model/tensors.ts";
import { stream } from "../../../src/protocol/random.ts";
import { compareSubmissions, type Sketched } from "../../../src/steps/evaluate/near-copies.ts";
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
const dense = { seed: hash("seed"), codec: "dense-bf16" };

/** Compared, where the losses of all would be paid alike, but those of these hardly; and nothing else is known of losses, or that these of some move. */
async function compare(
  how: Parameters<typeof compareSubmissions>[0],
  submissions: Sketched[],
  hardly: string[] = [],
  moves?: ReadonlyMap<string, number>,
) {
  const compared = await compareSubmissions(how, submissions);
  return compared(
    new Map(
      submissions.map(({ miner }) => {
        const score = hardly.includes(miner) ? 200 : 1_000;
        return [miner, moves === undefined ? { score, base: [], own: [] } : { score, base: [3], own: [3 - (moves.get(miner) ?? 1)] }];
      }),
    ),
  );
}

describe("near copies", () => {
  it("are told by the earlier commit, whatever the order in which submissions come", async () => {
    const [first, copy] = [submission("first", 10, original), submission("copy", 11, scaled(original, 1.5))];
    for (const order of [
      [first, copy],
      [copy, first],
    ]) {
      const found = await compare(dense, order);
      assert.deepEqual([...found.keys()], ["copy"]);
      assert.deepEqual([found.get("copy")?.copy, found.get("copy")?.likeness.like], [true, ["first"]]);
    }
  });

  it("are unclear among few: what the earlier ones explain, and around it the rest mirrored, and with random signs", async () => {
    const [copy, first] = [plus(scaled(original, 2), scaled(delta("noise"), 2)), scaled(original, 3)];
    const found = await compare(dense, [submission("first", 1, first), submission("copy", 2, copy)]);
    const { unclear } = found.get("copy") ?? {};
    const [explained, mirrored, scrambled, scrambledMirrored] = await Promise.all(
      (unclear ?? []).map(({ read }) => read("one", new Float32Array(1_500))),
    );
    let flipped = 0;
    for (const [at, value] of (copy.get("one") as Float32Array).entries()) {
      const [part, mirror, random, other] = [explained, mirrored, scrambled, scrambledMirrored].map((values) => values?.[at] as number) as [
        number,
        number,
        number,
        number,
      ];
      assert.ok(Math.abs(part - 2 * (original.get("one")?.[at] as number)) < 3e-4);
      const sign = Math.sign((random - part) * (value - part));
      flipped += sign < 0 ? 1 : 0;
      for (const [found, times] of [
        [mirror, -1],
        [random, sign],
        [other, -sign],
      ] as const)
        assert.ok(Math.abs(found - part - times * (value - part)) < 1e-9);
    }
    assert.ok(flipped > 650 && flipped < 850, `${flipped}`);
    assert.equal(found.get("first"), undefined);
  });

  it("are not made of honest work that is alike by those who submit noise, however many", async () => {
    const [a, b] = ["a", "b"].map((name) => plus(original, scaled(delta(name), 0.5))) as [
      Map<string, Float32Array>,
      Map<string, Float32Array>,
    ];
    for (const count of [1, 2, 4, 8]) {
      const noise = Array.from({ length: count }, (_, index) => submission(`noise ${index}`, 2 + index, delta(`noise ${index}`)));
      const group = [submission("first", 1, a), ...noise, submission("second", 20, b)];
      const found = await compare(
        dense,
        group,
        noise.map(({ miner }) => miner),
      );
      assert.equal(found.get("second")?.copy, false);
      assert.equal(found.get("second")?.unclear?.length, 4);
      assert.equal((await compare(dense, group)).get("second")?.copy, true);
    }
  });

  it("are not made of honest work that is alike by noise that is paid as much, but is long for what it does", async () => {
    const [a, b] = ["a", "b"].map((name) => plus(original, scaled(delta(name), 0.5))) as [
      Map<string, Float32Array>,
      Map<string, Float32Array>,
    ];
    const noise = [1, 2, 3].map((at) => submission(`noise ${at}`, 1 + at, scaled(delta(`noise ${at}`), 3)));
    const group = [submission("first", 1, a), ...noise, submission("second", 20, b)];
    assert.equal((await compare(dense, group, [])).get("second")?.copy, true);
    assert.equal((await compare(dense, group, [], new Map())).get("second")?.copy, false);
    const far = new Map(noise.map(({ miner }): [string, number] => [miner, 3]));
    assert.equal((await compare(dense, group, [], far)).get("second")?.copy, true);
  });

  it("are not looked for in another group, nor among honest work", async () => {
    const others = ["a", "b", "c"].map((name, index) => submission(name, 10 + index, delta(name)));
    const elsewhere = submission("copy", 20, original, 1);
    const found = await compare(dense, [submission("first", 1, original), ...others, elsewhere]);
    assert.deepEqual(
      [...found].map(([miner, { copy }]) => [miner, copy]),
      [
        ["a", false],
        ["b", false],
        ["c", false],
      ],
    );
  });

  it("are found where a sparse codec left hardly any values", async () => {
    const sparse = { ...dense, codec: "signs-10" };
    const few = (of: ReadonlyMap<string, Float32Array>, first: number) =>
      new Map([...of].map(([name, values]) => [name, values.map((x, i) => (i % 100 === first ? x : 0))]));
    const noise = scaled(few(delta("noise"), 3), 0.3);
    const found = await compare(sparse, [
      submission("first", 1, few(original, 3)),
      submission("other", 2, few(delta("other"), 3)),
      submission("copy", 3, plus(few(original, 3), noise)),
      submission("elsewhere", 4, few(original, 4)),
    ]);
    assert.deepEqual(
      [...found].map(([miner, { copy }]) => [miner, copy]),
      [
        ["other", false],
        ["copy", true],
        ["elsewhere", false],
      ],
    );
    assert.equal(found.get("elsewhere")?.likeness.share, 0);
  });
});
