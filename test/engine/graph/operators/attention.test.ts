import assert from "node:assert/strict";
import { causalAttention, type Heads } from "../../../../src/engine/graph/operators/attention.ts";
import { checkGradients, evaluate, random } from "../finite-differences.ts";

const shapes: Heads[] = [
  { sequences: 2, positions: 3, heads: 4, keyValueHeads: 2, headDimension: 2 },
  { sequences: 3, positions: 5, heads: 3, keyValueHeads: 1, headDimension: 4 },
  { sequences: 1, positions: 4, heads: 2, keyValueHeads: 2, headDimension: 6 },
];

/** The definition, loop by loop, in float64. */
function reference(
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  { sequences, positions, heads, keyValueHeads, headDimension }: Heads,
): number[] {
  const result: number[] = new Array(query.length).fill(0);
  const at = (position: number, sequence: number, count: number, head: number) =>
    ((position * sequences + sequence) * count + head) * headDimension;
  for (let sequence = 0; sequence < sequences; sequence++) {
    for (let head = 0; head < heads; head++) {
      const shared = Math.floor(head / (heads / keyValueHeads));
      for (let position = 0; position < positions; position++) {
        const from = at(position, sequence, heads, head);
        const scores = Array.from({ length: position + 1 }, (_, other) => {
          const to = at(other, sequence, keyValueHeads, shared);
          let dot = 0;
          for (let d = 0; d < headDimension; d++) dot += (query[from + d] as number) * (key[to + d] as number);
          return Math.exp(dot / Math.sqrt(headDimension));
        });
        const total = scores.reduce((sum, one) => sum + one, 0);
        for (const [other, score] of scores.entries()) {
          const to = at(other, sequence, keyValueHeads, shared);
          for (let d = 0; d < headDimension; d++) result[from + d]! += (score / total) * (value[to + d] as number);
        }
      }
    }
  }
  return result;
}

function fedOf(heads: Heads) {
  const rows = heads.sequences * heads.positions;
  const one = (columns: number, seed: number) => ({ shape: [rows, columns], data: [...random(rows * columns, seed)] });
  const keyWidth = heads.keyValueHeads * heads.headDimension;
  return { query: one(heads.heads * heads.headDimension, 1), key: one(keyWidth, 2), value: one(keyWidth, 3) };
}

/** Long enough for three blocks, of unequal length. */
const long: Heads = { sequences: 1, positions: 200, heads: 2, keyValueHeads: 1, headDimension: 2 };

describe("engine/graph/operators/attention", () => {
  for (const heads of [...shapes, long]) {
    const title = JSON.stringify(heads);
    it(`equals its definition: ${title}`, async () => {
      const fed = fedOf(heads);
      const { y } = await evaluate(fed, ({ query, key, value }) => ({ y: causalAttention(query!, key!, value!, heads) }));
      const [query, key, value] = [fed.query, fed.key, fed.value].map(({ data }) => Float32Array.from(data)) as [
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      for (const [index, expected] of reference(query, key, value, heads).entries()) {
        assert.ok(Math.abs((y?.[index] as number) - expected) < 1e-5, `element ${index}: ${y?.[index]} for ${expected}`);
      }
    });

    it(`has the gradients: ${title}`, async () => {
      const every = heads === long ? 23 : 1;
      await checkGradients(fedOf(heads), ({ query, key, value }) => causalAttention(query!, key!, value!, heads), { every });
    });
  }

  it("has each gradient alone", async () => {
    const heads = shapes[0] as Heads;
    for (const variables of [["query"], ["key"], ["value"]]) {
      await checkGradients(fedOf(heads), ({ query, key, value }) => causalAttention(query!, key!, value!, heads), { variables });
    }
  });
});
