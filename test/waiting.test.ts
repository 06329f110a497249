import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { backOff, pause } from "../src/waiting.ts";

describe("waiting", () => {
  it("doubles up to its limit, and spreads over the upper half", () => {
    const options = { first: 100, most: 1000 };
    const delays = (random: number): number[] => [1, 2, 3, 4, 5, 60].map((attempt) => backOff(attempt, options, () => random));
    assert.deepEqual(delays(0), [50, 100, 200, 400, 500, 500]);
    assert.deepEqual(delays(1), [100, 200, 400, 800, 1000, 1000]);
  });

  it("ends at once with the signal's reason, and leaves no listener behind", async () => {
    const controller = new AbortController();
    await pause(1, controller.signal);
    assert.equal(getEventListeners(controller.signal, "abort").length, 0);
    const waiting = pause(3_600_000, controller.signal);
    controller.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await assert.rejects(pause(3_600_000, controller.signal), /enough/);
  });
});
