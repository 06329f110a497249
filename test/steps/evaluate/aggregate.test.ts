import assert from "node:assert/strict";
import fc from "fast-check";
import { squaredDistance } from "../../../src/kernels/merge.ts";
import { type Tensors, tensorsOf } from "../../../src/model/tensors.ts";
import { type AggregationRule, aggregateDeltas, squaredDistance as plainSquares } from "../../../src/protocol/aggregate.ts";
import { aggregate } from "../../../src/steps/evaluate/aggregate.ts";
import { bitsOf } from "../../kernels/support.ts";

const methods = ["mean", "trimmed-mean", "median", "centred-clipping", "krum"] as const;
/** Two tensors, one of them longer than a kernel takes at once, from short patterns repeated. */
const lengths = [["first", 7] as const, ["second", 16_391] as const];
const pattern = fc.array(fc.float({ noNaN: true, min: -4, max: 4 }), { minLength: 3, maxLength: 11 });
const delta = fc
  .tuple(pattern, fc.constantFrom(1, 1, 40))
  .map(([values, size]) =>
    lengths.map(([, length]) => Float32Array.from({ length }, (_, index) => size * (values[index % values.length] as number))),
  );
const named = (tensors: readonly Float32Array[]) =>
  tensorsOf(new Map(lengths.map(([name], index) => [name, tensors[index] as Float32Array])));

/** Notes each read. */
function counting({ sizes, read }: Tensors, reads: string[]): Tensors {
  return {
    sizes,
    read: (name, into) => {
      reads.push(name);
      return read(name, into);
    },
  };
}

describe("a gradient computed tensor by tensor", () => {
  it("has the bits of the plain rule, whatever the method", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(delta, { minLength: 1, maxLength: 7 }),
        fc.constantFrom(...methods),
        fc.constantFrom(1, 2, 1e6),
        async (list, method, normCap) => {
          const rule: AggregationRule = { method, tolerated: 0.25, normCap };
          const gradient = await aggregate(list.map(named), rule);
          assert.deepEqual(
            [...gradient.sizes],
            lengths.map(([name, length]) => [name, length]),
          );
          const expected = aggregateDeltas(list, rule);
          for (const [index, [name]] of lengths.entries())
            assert.deepEqual(bitsOf(await gradient.read(name)), bitsOf(expected[index] as Float32Array), `${method} ${name}`);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("reads a tensor of each contributor for a tensor of the gradient, and nothing else", async () => {
    const reads: string[] = [];
    const list = [1, 2, 3].map((value) => counting(named(lengths.map(([, length]) => new Float32Array(length).fill(value))), reads));
    const gradient = await aggregate(list, { method: "median", tolerated: 0.25, normCap: 4 });
    reads.length = 0;
    assert.equal((await gradient.read("second"))[16_390], 2);
    assert.deepEqual(reads, ["second", "second", "second"]);
  });

  it("measures squares and distances to the bits of the plain rule", () => {
    fc.assert(
      fc.property(delta, delta, ([, a], [, b]) => {
        assert.ok(a && b);
        assert.equal(squaredDistance(a), plainSquares(a));
        assert.equal(squaredDistance(a, b), plainSquares(a, b));
        const short = a.subarray(0, 1 + Math.floor(Math.abs(a[0] as number)));
        assert.equal(squaredDistance(short, b.subarray(0, short.length)), plainSquares(short, b.subarray(0, short.length)));
      }),
      { numRuns: 30 },
    );
    assert.throws(() => squaredDistance(Float32Array.of(1), Float32Array.of(1, 2)), RangeError);
  });
});
