import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { backoffDelay, sleep } from "../../src/exchange/backoff.ts";

describe("backoff", () => {
  it("doubles up to its limit, and spreads over the upper half", () => {
    const options = { firstMilliseconds: 100, maximumMilliseconds: 1000 };
    const delays = (random: number): number[] => [1, 2, 3, 4, 5, 60].map((attempt) => backoffDelay(attempt, options, () => random));
    assert.deepEqual(delays(0), [50, 100, 200, 400, 500, 500]);
    assert.deepEqual(delays(1), [100, 200, 400, 800, 1000, 1000]);
  });

  it("ends at once with the signal's reason, and leaves no listener behind", async () => {
    const controller = new AbortController();
    await sleep(1, controller.signal);
    assert.equal(getEventListeners(controller.signal, "abort").length, 0);
    const waiting = sleep(3_600_000, controller.signal);
    controller.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await assert.rejects(sleep(3_600_000, controller.signal), /enough/);
  });
});
