import assert from "node:assert/strict";
import { ConnitoError } from "../../src/errors.ts";
import { retry } from "../../src/steps/retry.ts";

const busy = (retryable: boolean) => new ConnitoError("busy", { code: "busy", exit: "network", hint: "Wait.", retryable });

/** The pauses of work that fails so often before it is done. */
async function pausesOf(failures: number): Promise<number[]> {
  const pauses: number[] = [];
  let left = failures;
  const work = async () => {
    if (left-- > 0) throw busy(true);
    return "done";
  };
  const pause = async (milliseconds: number) => void pauses.push(milliseconds);
  assert.equal(await retry(work, { signal: new AbortController().signal, pause }), "done");
  return pauses;
}

describe("trying again", () => {
  it("pauses twice as long each time up to 10 s, up to half of each pause taken off, so that many do not come back at once", async () => {
    const runs = await Promise.all(Array.from({ length: 50 }, () => pausesOf(12)));
    for (const pauses of runs) {
      assert.equal(pauses.length, 12);
      for (const [attempt, pause] of pauses.entries()) {
        const share = pause / Math.min(10_000, 250 * 2 ** attempt);
        assert.ok(share >= 0.5 && share < 1, `${pause} at attempt ${attempt}`);
      }
    }
    const last = runs.map((pauses) => (pauses.at(-1) as number) / 10_000);
    assert.ok(Math.min(...last) < 0.625 && Math.max(...last) > 0.875, "they come back close together");
  });

  it("gives up what no waiting mends, what it is told to, and when it is stopped", async () => {
    const signal = new AbortController().signal;
    let asked = 0;
    const failing = (retryable: boolean) => async () => {
      asked++;
      throw busy(retryable);
    };
    const pause = async () => undefined;
    await assert.rejects(retry(failing(false), { signal, pause }), { code: "busy" });
    assert.equal(asked, 1);
    await assert.rejects(retry(failing(true), { signal, pause, goOn: () => asked < 5 }), { code: "busy" });
    assert.equal(asked, 5);
    const stop = new AbortController();
    const stopped = retry(failing(true), { signal: stop.signal, pause: async () => stop.abort(new Error("stopped")) });
    await assert.rejects(stopped, /stopped/);
  });
});
