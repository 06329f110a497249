import assert from "node:assert/strict";
import type { Neuron } from "../../src/chain/client.ts";
import { developmentSigner } from "../../src/chain/signer.ts";
import { createWorld, type World, type WorldOptions } from "../../src/simulate/world.ts";

const alice = await developmentSigner("//Alice");
const bob = await developmentSigner("//Bob");

function neuron(hotkey: string, uid: number, registeredAt = 0): Neuron {
  return { hotkey, coldkey: hotkey, uid, stake: 0n, validatorPermit: false, registeredAt, lastUpdate: 0 };
}

function worldOf(options: Partial<WorldOptions> = {}): World {
  const neurons = [neuron(alice.address, 0), neuron(bob.address, 1, 5)];
  return createWorld({ seed: "test", ownerHotkey: alice.address, neurons, ...options });
}

const record = (text: string) => new TextEncoder().encode(text);

describe("simulate/world", () => {
  it("lets one actor work at a time, and makes a block only when all wait", async () => {
    const { clock, play, block } = worldOf();
    const log: string[] = [];
    const actor = (name: string) => async () => {
      for (const until of [1, 3]) {
        log.push(`${name} begins at ${block()}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
        log.push(`${name} waits at ${block()}`);
        await clock.until(({ best }) => best >= until);
      }
    };
    await play([actor("first"), actor("second")]);
    assert.deepEqual(log, [
      "first begins at 0",
      "first waits at 0",
      "second begins at 0",
      "second waits at 0",
      "first begins at 1",
      "first waits at 1",
      "second begins at 1",
      "second waits at 1",
    ]);
    assert.equal(block(), 3);
  });

  it("comes to an end when everybody is told to stop", async () => {
    const { chain, clock, play } = worldOf();
    const stop = new AbortController();
    const forEver = async () => void (await clock.until(() => false, stop.signal));
    const sending = async () => {
      await chain.setCommitment(alice, 1, record("one"));
      await forEver();
    };
    const stopping = async () => {
      await clock.until(({ best }) => best >= 2);
      stop.abort(new Error("stopped"));
      // Whoever was woken by that has more to do than a microtask.
      await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await assert.rejects(play([forEver, sending, stopping]), /stopped/);
  });

  it("includes a record in the next block, tells of it when two blocks stand on that, and remembers every state", async () => {
    const { chain, clock, play, block } = worldOf();
    await play([
      async () => {
        const { block: included, already } = await chain.setCommitment(alice, 1, record("one"));
        assert.deepEqual([included, already, block()], [1, false, 3]);
        assert.equal((await chain.setCommitment(alice, 1, record("one"))).already, true);
        const second = await chain.setCommitment(alice, 1, record("two"));
        const seen = async (number: number) =>
          (await chain.commitments(1, await chain.blockHash(number))).map(({ fields }) => new TextDecoder().decode(fields[0]));
        assert.deepEqual([await seen(0), await seen(1), await seen(second.block)], [[], ["one"], ["two"]]);
        assert.equal((await clock.now()).finalized.number, block() - 2);
      },
    ]);
  });

  it("refuses what came too late, and orders what came together", async () => {
    const { chain, play } = worldOf({ delay: (hotkey) => (hotkey === alice.address ? 3 : 1) });
    await play([
      async () => {
        await assert.rejects(chain.setCommitment(alice, 1, record("late"), { until: 2 }), { code: "deadline-missed" });
      },
      async () => {
        const { block } = await chain.setCommitment(bob, 1, record("in time"), { until: 2 });
        assert.equal(await chain.extrinsicIndex({ block, hotkey: bob.address, netuid: 1 }), 0);
      },
    ]);
  });

  it("shows a neuron from the block at which it registered", async () => {
    const { chain, clock, play } = worldOf();
    await play([
      async () => {
        await clock.until(({ best }) => best >= 6);
        const uids = async (block: number) => (await chain.neurons(1, await chain.blockHash(block))).map(({ uid }) => uid);
        assert.deepEqual([await uids(4), await uids(5)], [[0], [0, 1]]);
      },
    ]);
  });

  it("passes on what an actor throws, when the others have ended", async () => {
    const { clock, play, block } = worldOf();
    const failing = async () => {
      throw new Error("no");
    };
    const waiting = async () => {
      await clock.until(({ best }) => best >= 4);
    };
    await assert.rejects(play([failing, waiting]), /no/);
    assert.equal(block(), 4);
  });

  it("has the same blocks for the same seed, and others for another", async () => {
    const hash = (seed: string) => worldOf({ seed }).chain.blockHash(0);
    assert.equal(await hash("a"), await hash("a"));
    assert.notEqual(await hash("a"), await hash("b"));
  });

  it("loses what it is told to lose: whoever set a deadline hears of it then, and what has none comes late", async () => {
    const { chain, play, block } = worldOf({ delay: () => Number.POSITIVE_INFINITY });
    await play([
      async () => {
        await assert.rejects(chain.setCommitment(alice, 1, record("lost"), { until: 3 }), { code: "deadline-missed" });
        assert.equal(block(), 4);
        assert.ok((await chain.setWeights(alice, 1, [], 0n)).block > 4);
      },
    ]);
  });
});
