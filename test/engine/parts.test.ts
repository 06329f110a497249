import assert from "node:assert/strict";
import { shareSequences } from "../../src/engine/parts.ts";

describe("sharing a batch out over threads", () => {
  it("gives each part as many sequences, and the threads that are left to all of them", () => {
    assert.deepEqual(shareSequences(8, 1), { parts: 1, sessionThreads: 1 });
    assert.deepEqual(shareSequences(8, 2), { parts: 2, sessionThreads: 1 });
    assert.deepEqual(shareSequences(1, 2), { parts: 1, sessionThreads: 2 });
    assert.deepEqual(shareSequences(9, 8), { parts: 3, sessionThreads: 6 });
    assert.deepEqual(shareSequences(64, 64), { parts: 4, sessionThreads: 61 });
  });
});
