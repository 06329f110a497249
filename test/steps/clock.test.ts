import assert from "node:assert/strict";
import { createChainClock, type Heads } from "../../src/steps/clock.ts";

/** A chain whose heads the test pushes. */
function pushedChain() {
  const queue: Heads[] = [];
  let wake: (() => void) | undefined;
  let asked = 0;
  let following = 0;
  const reference = (number: number) => ({ number, hash: `0x${number}` });
  const heads = (best: number): Heads => ({ best, finalized: reference(best - 2) });
  return {
    chain: {
      bestHead: async () => {
        asked += 1;
        return reference(10);
      },
      finalizedHead: async () => reference(8),
      async *followHeads(signal: AbortSignal) {
        following += 1;
        signal.addEventListener("abort", () => wake?.(), { once: true });
        while (!signal.aborted) {
          const next = queue.shift();
          if (next !== undefined) yield next;
          else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
        following -= 1;
      },
    },
    push(best: number) {
      queue.push(heads(best));
      wake?.();
    },
    get asked() {
      return asked;
    },
    get following() {
      return following;
    },
  };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("chain clock", () => {
  it("asks the chain while nobody follows it", async () => {
    const pushed = pushedChain();
    const clock = createChainClock(pushed.chain);
    assert.deepEqual(await clock.now(), { best: 10, finalized: { number: 8, hash: "0x8" } });
    await clock.now();
    assert.equal(pushed.asked, 2, "nothing stale is kept");
  });

  it("resolves with the first heads that meet the condition, and stops following then", async () => {
    const pushed = pushedChain();
    const clock = createChainClock(pushed.chain);
    const waiting = clock.until(({ finalized }) => finalized.number >= 20);
    for (const best of [20, 21, 22, 23]) {
      pushed.push(best);
      await settle();
    }
    assert.equal((await waiting).best, 22);
    await settle();
    assert.equal(pushed.following, 0);
  });

  it("rejects with the signal's reason", async () => {
    const controller = new AbortController();
    const waiting = createChainClock(pushedChain().chain).until(() => false, controller.signal);
    controller.abort(new Error("stopped"));
    await assert.rejects(waiting, /stopped/);
  });

  it("rejects who waits when the chain is lost for good", async () => {
    const chain = {
      ...pushedChain().chain,
      // biome-ignore lint/correctness/useYield: the chain fails before it delivers anything
      async *followHeads(): AsyncGenerator<Heads> {
        throw new Error("unreachable");
      },
    };
    await assert.rejects(
      createChainClock(chain).until(() => true),
      /unreachable/,
    );
  });

  it("goes on for who watches when following fails", async () => {
    const pushed = pushedChain();
    let attempts = 0;
    const chain = {
      ...pushed.chain,
      followHeads(signal: AbortSignal): AsyncIterable<Heads> {
        attempts += 1;
        if (attempts === 1) throw new Error("lost");
        return pushed.chain.followHeads(signal);
      },
    };
    const seen = await new Promise<number>((resolve) => {
      const stop = createChainClock(chain, { again: 1 }).watch(({ best }) => {
        stop();
        resolve(best);
      });
      pushed.push(33);
    });
    assert.deepEqual([seen, attempts], [33, 2]);
  });

  it("tells watchers until they end", async () => {
    const pushed = pushedChain();
    const clock = createChainClock(pushed.chain);
    const seen: number[] = [];
    const stop = clock.watch(({ best }) => seen.push(best));
    pushed.push(11);
    await settle();
    stop();
    pushed.push(12);
    await settle();
    assert.deepEqual(seen, [11]);
  });
});
