import assert from "node:assert/strict";
import type { Tensor } from "../../../../src/engine/graph/graph.ts";
import { causalAttention, type Heads } from "../../../../src/engine/graph/operators/attention.ts";
import { checkGradients, evaluate, random } from "../finite-differences.ts";

const shapes: Heads[] = [
  { sequences: 2, positions: 3, heads: 4, keyValueHeads: 2, headDimension: 2 },
  { sequences: 3, positions: 5, heads: 3, keyValueHeads: 1, headDimension: 4 },
  { sequences: 1, positions: 4, heads: 2, keyValueHeads: 2, headDimension: 6 },
  { sequences: 2, positions: 4, heads: 2, keyValueHeads: 1, headDimension: 3, valueDimension: 5, scale: 0.9 },
  { sequences: 2, positions: 6, heads: 2, keyValueHeads: 1, headDimension: 2, window: 3 },
  { sequences: 1, positions: 7, heads: 2, keyValueHeads: 2, headDimension: 2, chunk: 3 },
];

/** The definition, loop by loop, in float64. */
function reference(
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  { sequences, positions, heads, keyValueHeads, headDimension, valueDimension = headDimension, ...options }: Heads,
  sinks?: readonly number[],
): number[] {
  const { scale = 1 / Math.sqrt(headDimension), window = positions, chunk = positions } = options;
  const result: number[] = new Array(sequences * positions * heads * valueDimension).fill(0);
  const at = (position: number, sequence: number, count: number, head: number, width = headDimension) =>
    ((position * sequences + sequence) * count + head) * width;
  for (let sequence = 0; sequence < sequences; sequence++) {
    for (let head = 0; head < heads; head++) {
      const shared = Math.floor(head / (heads / keyValueHeads));
      for (let position = 0; position < positions; position++) {
        const from = at(position, sequence, heads, head);
        const scores = Array.from({ length: position + 1 }, (_, other) => {
          const to = at(other, sequence, keyValueHeads, shared);
          let dot = 0;
          for (let d = 0; d < headDimension; d++) dot += (query[from + d] as number) * (key[to + d] as number);
          const visible = other > position - window && Math.floor(other / chunk) === Math.floor(position / chunk);
          return visible ? Math.exp(dot * scale) : 0;
        });
        const total = scores.reduce((sum, one) => sum + one, sinks === undefined ? 0 : Math.exp(sinks[head] as number));
        const row = at(position, sequence, heads, head, valueDimension);
        for (const [other, score] of scores.entries()) {
          const to = at(other, sequence, keyValueHeads, shared, valueDimension);
          for (let d = 0; d < valueDimension; d++) result[row + d]! += (score / total) * (value[to + d] as number);
        }
      }
    }
  }
  return result;
}

function fedOf(heads: Heads) {
  const rows = heads.sequences * heads.positions;
  const one = (columns: number, seed: number) => ({ shape: [rows, columns], data: [...random(rows * columns, seed)] });
  const { heads: count, keyValueHeads, headDimension, valueDimension = headDimension } = heads;
  return {
    query: one(count * headDimension, 1),
    key: one(keyValueHeads * headDimension, 2),
    value: one(keyValueHeads * valueDimension, 3),
  };
}

/** Long enough for three blocks, of unequal length: with a window or chunks the later ones begin after the first key. */
const long: Heads = { sequences: 1, positions: 200, heads: 2, keyValueHeads: 1, headDimension: 2 };
const longOnes: Heads[] = [long, { ...long, window: 40 }, { ...long, chunk: 50 }];

describe("engine/graph/operators/attention", () => {
  for (const heads of [...shapes, ...longOnes]) {
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
      const every = longOnes.includes(heads) ? 23 : 1;
      await checkGradients(fedOf(heads), ({ query, key, value }) => causalAttention(query!, key!, value!, heads), { every });
    });
  }

  for (const heads of [shapes[0] as Heads, shapes[4] as Heads, { ...long, window: 40 }]) {
    it(`gives sinks their part, with gradients: ${JSON.stringify(heads)}`, async () => {
      const sinks = [0.5, -1, 2, 0].slice(0, heads.heads);
      const fed = { ...fedOf(heads), sinks: { shape: [heads.heads], data: sinks } };
      const build = ({ query, key, value, sinks }: Record<string, Tensor>) => causalAttention(query!, key!, value!, heads, sinks);
      const { y } = await evaluate(fed, (inputs) => ({ y: build(inputs) }));
      const [query, key, value] = [fed.query, fed.key, fed.value].map(({ data }) => Float32Array.from(data));
      for (const [index, expected] of reference(query!, key!, value!, heads, sinks).entries()) {
        assert.ok(Math.abs((y?.[index] as number) - expected) < 1e-5, `element ${index}: ${y?.[index]} for ${expected}`);
      }
      await checkGradients(fed, build, { every: heads.positions > 100 ? 23 : 1 });
      await checkGradients(fed, build, { variables: ["sinks"] });
    });
  }

  it("has each gradient alone", async () => {
    const heads = shapes[0] as Heads;
    for (const variables of [["query"], ["key"], ["value"]]) {
      await checkGradients(fedOf(heads), ({ query, key, value }) => causalAttention(query!, key!, value!, heads), { variables });
    }
  });
});
