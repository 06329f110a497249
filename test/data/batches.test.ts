import assert from "node:assert/strict";
import { createBatches } from "../../src/data/batches.ts";
import { stream } from "../../src/protocol/random.ts";

const sequences = (...values: number[]) => values.map((value) => Int32Array.of(value));
const values = (batch: readonly Int32Array[]) => batch.map(([value]) => value as number);

describe("batches", () => {
  const small = [1, 2, 3];
  const large = Array.from({ length: 50 }, (_, index) => 100 + index);
  const batches = createBatches([sequences(...small), sequences(...large)], stream("00".repeat(32)));

  it("let domains take turns, whatever their sizes", () => {
    const walked = values(batches(0, 20));
    assert.equal(walked.filter((value) => value < 100).length, 10);
    for (const [place, value] of walked.entries()) assert.equal(value < 100, place % 2 === 0);
  });

  it("go through every sequence of a domain before one comes again", () => {
    const walked = values(batches(0, 100)).filter((value) => value >= 100);
    assert.deepEqual(
      [...walked].sort((a, b) => a - b),
      large,
    );
    const again = values(batches(0, 12)).filter((value) => value < 100);
    assert.deepEqual(again.slice(0, 3), again.slice(3, 6));
  });

  it("give the same walk wherever it is entered", () => {
    assert.deepEqual(values(batches(7, 9)), values(batches(0, 16)).slice(7));
  });
});
