import assert from "node:assert/strict";
import fc from "fast-check";
import { chunkElements, flatLayout, flatTensors } from "../../src/engine/flat-tensors.ts";
import type { Value } from "../../src/engine/runtime/value.ts";

describe("engine/flat-tensors", () => {
  it("shows the same memory as tensors and as chunks, each element once", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 2 * chunkElements }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 3 * chunkElements }), (lengths, longestArray) => {
        const layout = flatLayout(new Map(lengths.map((length, index) => [`t${index}`, [length]])), longestArray);
        const { tensors, chunks } = flatTensors(layout);
        assert.deepEqual(
          chunks.map(({ shape }) => shape[0]),
          layout.chunks,
        );
        assert.ok(layout.chunks.every((length) => length <= chunkElements));
        for (const [index, length] of lengths.entries())
          (tensors[`t${index}`] as Value)
            .float32()
            .fill(index + 1)
            .fill(-1, length - 1);
        const seen = new Map<number, number>();
        for (const chunk of chunks) for (const value of chunk.float32()) seen.set(value, (seen.get(value) ?? 0) + 1);
        assert.equal(seen.get(-1), lengths.length);
        for (const [index, length] of lengths.entries()) assert.equal(seen.get(index + 1) ?? 0, length - 1);
      }),
      { numRuns: 20 },
    );
  });

  it("keeps arrays near the length asked for", () => {
    const shapes = new Map(Array.from({ length: 10 }, (_, index) => [`t${index}`, [100]]));
    assert.deepEqual(flatLayout(shapes, 350).arrays, [336, 336, 336, 112]);
    assert.deepEqual(flatLayout(shapes, 10).arrays, Array(10).fill(112));
  });
});
