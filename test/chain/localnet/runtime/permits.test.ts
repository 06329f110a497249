/** Who has a validator permit, and when that changes: what the localnet promises of an epoch. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { blocksUntilEpoch, epochIndex, permitsByStake } from "../../../../src/chain/localnet/runtime/subtensor/epoch.ts";
import { subtensorStorage as items } from "../../../../src/chain/localnet/runtime/subtensor/storage.ts";
import { createBench, netuid, subnetOf, tao } from "../support.ts";

describe("validator permits", () => {
  it("go to the largest stakes of those with any and with the threshold, the higher uid winning between equals", () => {
    assert.deepEqual(permitsByStake([5n, 0n, 7n, 6n], 2, 0n), [false, false, true, true]);
    assert.deepEqual(permitsByStake([5n, 0n, 7n, 6n], 9, 0n), [true, false, true, true]);
    assert.deepEqual(permitsByStake([5n, 5n, 5n], 2, 0n), [false, true, true]);
    assert.deepEqual(permitsByStake([5n, 9n, 4n], 9, 5n), [true, true, false]);
  });

  it("are as many as there are places or eligible neurons, and never skip a larger stake", () => {
    fc.assert(
      fc.property(
        fc.array(fc.bigInt({ min: 0n, max: 20n }), { maxLength: 30 }),
        fc.nat(40),
        fc.bigInt({ min: 0n, max: 10n }),
        (stakes, places, threshold) => {
          const permits = permitsByStake(stakes, places, threshold);
          const eligible = stakes.filter((stake) => stake > 0n && stake >= threshold).length;
          assert.equal(permits.filter(Boolean).length, Math.min(places, eligible));
          const least = Math.min(100, ...stakes.filter((_, uid) => permits[uid]).map(Number));
          assert.ok(stakes.every((stake, uid) => permits[uid] || stake <= least || stake < threshold));
        },
      ),
    );
  });

  it("are given at genesis, and anew at the block before an epoch's first", async () => {
    const { genesis, alice, miner, second } = await subnetOf({ tempo: 20, maximumValidators: 2 });
    const bench = await createBench(genesis);
    const permits = () => bench.chain.ledgerAt(bench.chain.best()).get(items.ValidatorPermit, netuid);
    assert.deepEqual(permits(), [true, true, false]);
    assert.equal(bench.send(alice, "subtensorModule.addStake", miner.address, netuid, 5000n * tao), "ok");
    assert.equal(bench.send(alice, "subtensorModule.removeStake", second.address, netuid, 1000n * tao), "ok");
    assert.deepEqual(permits(), [true, true, false]);
    const tempo = 20;
    bench.produceTo(bench.chain.best().header.number + blocksUntilEpoch(netuid, tempo, bench.chain.best().header.number) - 1);
    assert.deepEqual(permits(), [true, true, false]);
    bench.produce();
    assert.deepEqual(permits(), [true, false, true]);
    const ledger = bench.chain.ledgerAt(bench.chain.best());
    const { number } = bench.chain.best().header;
    assert.equal(epochIndex(ledger, netuid, number + 1), epochIndex(ledger, netuid, number) + 1);
  });
});
