import assert from "node:assert/strict";
import { createHeadTracker, followFinalized, followHeads } from "../../src/chain/heads.ts";
import type { Link, Subscription } from "../../src/chain/link.ts";
import { ConnitoError } from "../../src/errors.ts";

/** A link that tells the heads it is told to tell, and fails the calls it is told to fail. */
function fakeLink(): { link: Link; best(number: number): void; finalized(number: number): void; failing: number } {
  const subscriptions: Subscription[] = [];
  const tell = (method: string, number: number): void => {
    for (const { method: subscribed, listener } of subscriptions) {
      if (subscribed === method) listener(undefined, { number: `0x${number.toString(16)}` });
    }
  };
  const fake = {
    failing: 0,
    best: (number: number) => tell("chain_subscribeNewHeads", number),
    finalized: (number: number) => tell("chain_subscribeFinalizedHeads", number),
    link: {
      subscribe: async (subscription: Subscription) => {
        subscriptions.push(subscription);
        return () => {};
      },
      call: async (_method: string, [number]: readonly unknown[]) => {
        if (fake.failing-- > 0) throw new ConnitoError("gone", { code: "chain-unreachable", exit: "network", hint: "-", retryable: true });
        return `hash of ${number}`;
      },
    } as unknown as Link,
  };
  return fake;
}

const breath = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("chain/heads", () => {
  it("never lets the finalised head go back, nor the best fall behind it", async () => {
    const fake = fakeLink();
    const stop = new AbortController();
    const seen: string[] = [];
    const following = (async () => {
      for await (const { best, finalized } of followHeads(fake.link, createHeadTracker(fake.link), stop.signal)) {
        seen.push(`${best} ${finalized.number} ${finalized.hash}`);
      }
    })();
    await breath();
    for (const [best, finalized] of [
      [12, 10],
      [13, 9],
      [8, 9],
      [11, 11],
    ] as const) {
      fake.best(best);
      fake.finalized(finalized);
      await breath();
    }
    stop.abort();
    await following;
    assert.deepEqual(seen, ["12 10 hash of 10", "13 10 hash of 10", "10 10 hash of 10", "11 11 hash of 11"]);
  });

  it("gives the newest only, each once", async () => {
    const fake = fakeLink();
    const stop = new AbortController();
    const heads = followFinalized(fake.link, createHeadTracker(fake.link), stop.signal);
    const first = heads.next();
    await breath();
    fake.best(5);
    fake.finalized(3);
    assert.equal((await first).value?.number, 3);
    for (let number = 4; number < 20; number += 1) fake.finalized(number);
    fake.best(21);
    assert.equal((await heads.next()).value?.number, 19);
    fake.best(22); // the best alone is no news to who follows what is final
    const next = heads.next();
    await breath();
    fake.finalized(20);
    assert.equal((await next).value?.number, 20);
    stop.abort();
    assert.equal((await heads.next()).done, true);
  });

  it("goes on after the chain was unreachable, with what was told meanwhile", async () => {
    const fake = fakeLink();
    const heads = followFinalized(fake.link, createHeadTracker(fake.link), new AbortController().signal);
    const first = heads.next();
    await breath();
    fake.failing = 3;
    fake.best(5);
    fake.finalized(3);
    assert.deepEqual((await first).value, { number: 3, hash: "hash of 3" });
  });

  it("passes on what waiting cannot mend", async () => {
    const fake = fakeLink();
    fake.link.call = async () => {
      throw new Error("a bug");
    };
    const heads = followFinalized(fake.link, createHeadTracker(fake.link), new AbortController().signal);
    const first = heads.next();
    await breath();
    fake.best(5);
    fake.finalized(3);
    await assert.rejects(first, /a bug/);
  });
});
