/** Blocks as a chain: headers that anybody can hash, finality behind the head, hashes that stay known. */

import assert from "node:assert/strict";
import type { Header } from "@polkadot/types/interfaces";
import { blake2AsHex } from "@polkadot/util-crypto";
import { headerJson } from "../../../src/chain/localnet/blocks.ts";
import type { Extrinsic } from "../../../src/chain/localnet/runtime/extrinsic.ts";
import { storageKey } from "../../../src/chain/localnet/runtime/ledger.ts";
import type { Runtime } from "../../../src/chain/localnet/runtime/runtime.ts";
import { systemStorage } from "../../../src/chain/localnet/runtime/system.ts";
import { timestampStorage } from "../../../src/chain/localnet/runtime/timestamp.ts";
import { createBench, netuid, pairOf, sharedRuntime, subnetOf } from "./support.ts";

describe("the chain", () => {
  it("hashes headers as polkadot.js does, each naming its parent and slot", async () => {
    const bench = await createBench();
    const { registry } = bench.chain.runtime.metadata;
    for (let count = 0; count < 3; count++) {
      const parent = bench.chain.best();
      const block = bench.produce();
      const header = registry.createType<Header>("Header", headerJson(block.header));
      assert.equal(header.hash.toHex(), block.hash);
      assert.equal(blake2AsHex(header.toU8a()), block.hash);
      assert.equal(block.header.parentHash, parent.hash);
      const [log] = header.digest.logs;
      assert.ok(log?.isPreRuntime);
      assert.equal(log.asPreRuntime[0].toString(), "aura");
    }
  });

  it("finalises a block only when the lag is behind it, and tells in order", async () => {
    const bench = await createBench({}, { finalityLag: 3 });
    const told: string[] = [];
    bench.chain.listen({
      best: (block) => told.push(`best ${block.header.number}`),
      finalized: (block) => told.push(`finalized ${block.header.number}`),
    });
    bench.produce(5);
    assert.deepEqual(told, ["best 1", "best 2", "best 3", "best 4", "finalized 1", "best 5", "finalized 2"]);
    assert.equal(bench.chain.finalized().header.number, 2);
  });

  it("has a timestamp that rises even when the clock goes back", async () => {
    const bench = await createBench();
    bench.chain.produce(5000);
    bench.chain.produce(4000);
    assert.equal(bench.chain.ledgerAt(bench.chain.best()).get(timestampStorage.Now), 5001n);
  });

  it("is the same for the same genesis and differs with it", async () => {
    const { genesis } = await subnetOf();
    const hashOf = async (given: Parameters<typeof createBench>[0]) => (await createBench(given)).chain.genesis().hash;
    assert.equal(await hashOf(genesis), await hashOf(genesis));
    assert.notEqual(await hashOf(genesis), await hashOf({ ...genesis, neurons: [] }));
  });

  it("drops block hashes from its state after 2,400 blocks, but never the genesis's: immortal transactions need it", async () => {
    const { chain } = await createBench();
    const empty = { read: () => undefined, keys: () => [] };
    const dropped = (block: number): boolean[] => {
      const { changes } = chain.runtime.initialize(empty, block, chain.genesis().hash);
      const { codec } = chain.runtime.metadata;
      return [0, 1, 2].map((number) => changes.has(storageKey(codec, systemStorage.BlockHash, [number])));
    };
    assert.deepEqual(dropped(2401), [false, false, false]);
    assert.deepEqual(dropped(2402), [false, true, false]);
    assert.deepEqual(dropped(2403), [false, false, true]);
  });

  it("refuses a mortal transaction whose birth block's hash is gone", async () => {
    const bench = await createBench();
    const first = bench.produce();
    bench.produce(3);
    const ancient = bench.sign(await pairOf("//Alice"), "system.remark", ["0x00"], { period: 4096, from: first });
    const ledger = bench.chain.nextLedger();
    assert.equal(bench.chain.runtime.validate(ledger, ancient).death, 4097);
    ledger.remove(systemStorage.BlockHash, 1);
    assert.throws(() => bench.chain.runtime.validate(ledger, ancient), { message: "Transaction has an ancient birth block" });
  });

  it("goes on without an extrinsic that makes the runtime fail, and undoes what that wrote", async () => {
    const { runtime } = await sharedRuntime();
    const failing: Runtime = {
      ...runtime,
      apply(ledger, extrinsic, index) {
        runtime.apply(ledger, extrinsic, index);
        assert.ok(extrinsic.signed?.nonce !== 1, "the runtime fails at the second");
      },
    };
    const bench = await createBench({}, { runtime: failing });
    const alice = await pairOf("//Alice");
    const [good, bad] = [0, 1].map((nonce) => bench.sign(alice, "system.remark", ["0x00"], { nonce })) as [Extrinsic, Extrinsic];
    bench.chain.submit(good);
    bench.chain.submit(bad);
    assert.deepEqual(bench.produce().extrinsics.slice(1), [good.bytes]);
    assert.equal(bench.chain.ledgerAt(bench.chain.best()).get(systemStorage.Account, bench.account(alice)).nonce, 1);
    assert.equal(bench.events(bench.chain.best()).filter(({ extrinsic }) => extrinsic === 2).length, 0);
    assert.deepEqual(bench.chain.pool.pending(), []);
  });

  it("refuses a genesis that contradicts itself", async () => {
    const { genesis, miner } = await subnetOf();
    const [subnet] = genesis.subnets ?? [];
    const bad = [
      { ...genesis, subnets: [subnet, subnet] },
      { ...genesis, neurons: [{ netuid: 9, hotkey: miner.address }] },
      { ...genesis, neurons: [0, 1].map(() => ({ netuid, hotkey: miner.address })) },
      { subnets: [{ netuid: 0, ownerHotkey: miner.address }] },
      { balances: [{ address: "nobody", free: 1n }] },
    ];
    for (const given of bad) {
      await assert.rejects(createBench(given as never), { code: "genesis-invalid" });
    }
  });
});
