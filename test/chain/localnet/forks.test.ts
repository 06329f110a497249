/** Reorganisations: what becomes of blocks, transactions, their watchers, and the log. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openBlockLog } from "../../../src/chain/localnet/block-log.ts";
import { createFaultPlan } from "../../../src/chain/localnet/faults/plan.ts";
import { authorMethods } from "../../../src/chain/localnet/rpc/author.ts";
import { chainMethods } from "../../../src/chain/localnet/rpc/chain.ts";
import type { Connection } from "../../../src/chain/localnet/rpc/connection.ts";
import { stateMethods } from "../../../src/chain/localnet/rpc/state.ts";
import { commitmentsStorage } from "../../../src/chain/localnet/runtime/commitments.ts";
import { storageKey } from "../../../src/chain/localnet/runtime/ledger.ts";
import { type Bench, createBench, netuid, subnetOf } from "./support.ts";

/** Collects what subscriptions send. */
function listening(): { connection: Connection; sent: unknown[] } {
  const sent: unknown[] = [];
  const connection: Connection = {
    subscribe(_, start) {
      start(
        (result) => void sent.push(result),
        () => void sent.push("end"),
      );
      return "1";
    },
    unsubscribe: () => false,
  };
  return { connection, sent };
}

describe("a reorganisation", () => {
  const set = "commitments.setCommitment";
  const fields = [{ Raw1: "0x2a" }];

  async function scene(finalityLag = 5) {
    const { genesis, miner } = await subnetOf();
    const bench = await createBench(genesis, { finalityLag });
    bench.produce(3);
    const standing = () =>
      bench.chain.ledgerAt(bench.chain.best()).get(commitmentsStorage.CommitmentOf, netuid, bench.account(miner))?.block;
    return { bench, miner, standing };
  }

  function watch(bench: Bench, bytes: string): unknown[] {
    const { connection, sent } = listening();
    authorMethods(bench.chain, createFaultPlan()).author_submitAndWatchExtrinsic?.([bytes], connection);
    return sent;
  }

  it("takes a transaction out of its block, back to the pool and into another one, and tells its watcher as a node does", async () => {
    const { bench, miner, standing } = await scene();
    const sent = watch(bench, bench.sign(miner, set, [netuid, { fields }]).bytes);
    const lost = bench.produce();
    bench.produce();
    assert.equal(standing(), 4);
    assert.equal(bench.chain.fork(2, "return"), true);
    assert.equal(bench.chain.best().header.number, 6);
    assert.equal(standing(), undefined);
    const found = bench.produce();
    assert.equal(standing(), 7);
    bench.produce(5);
    assert.deepEqual(sent, [
      "ready",
      { inBlock: lost.hash },
      { retracted: lost.hash },
      "ready",
      { inBlock: found.hash },
      { finalized: found.hash },
      "end",
    ]);
  });

  it("makes a transaction vanish when asked to: it is dropped, and may be sent again", async () => {
    const { bench, miner, standing } = await scene();
    const extrinsic = bench.sign(miner, set, [netuid, { fields }]);
    const sent = watch(bench, extrinsic.bytes);
    const lost = bench.produce();
    bench.chain.fork(1, "vanish");
    bench.produce();
    assert.equal(standing(), undefined);
    assert.deepEqual(sent, ["ready", { inBlock: lost.hash }, { retracted: lost.hash }, "dropped", "end"]);
    assert.equal(bench.chain.submit(extrinsic), "ready");
    bench.produce();
    assert.equal(standing(), 7);
  });

  it("tells of the new best head only, of all blocks to who wants all, and of storage that is another now", async () => {
    const { bench, miner } = await scene();
    const key = storageKey(bench.chain.runtime.metadata.codec, commitmentsStorage.CommitmentOf as never, [netuid, bench.account(miner)]);
    const [heads, all, storage] = [listening(), listening(), listening()];
    chainMethods(bench.chain).chain_subscribeNewHeads?.([], heads.connection);
    chainMethods(bench.chain).chain_subscribeAllHeads?.([], all.connection);
    stateMethods(bench.chain).state_subscribeStorage?.([[key]], storage.connection);
    bench.send(miner, set, netuid, { fields });
    bench.chain.fork(1, "vanish");
    const numbers = (sent: unknown[]) => sent.map((header) => Number((header as { number: string }).number));
    assert.deepEqual(numbers(heads.sent), [3, 4, 5]);
    assert.deepEqual(numbers(all.sent), [3, 4, 4, 5]);
    const values = storage.sent.map((change) => (change as { changes: [string, string | null][] }).changes[0]?.[1]);
    assert.deepEqual(
      values.map((value) => value !== null),
      [false, true, false],
    );
  });

  it("leaves the lost blocks readable until finality has passed them, and their headers known no longer than that", async () => {
    const { bench, miner } = await scene(2);
    bench.send(miner, set, netuid, { fields });
    const lost = bench.chain.best();
    bench.chain.fork(1, "vanish");
    assert.notEqual(bench.chain.blockAt(4)?.hash, lost.hash);
    assert.equal(bench.chain.ledgerAt(lost).get(commitmentsStorage.CommitmentOf, netuid, bench.account(miner))?.block, 4);
    bench.produce(3);
    assert.equal(bench.chain.stateOf(lost.hash), undefined);
  });

  it("is impossible below what is final, however long finality stood still before", async () => {
    const { bench } = await scene(2);
    assert.equal(bench.chain.finalized().header.number, 1);
    assert.equal(bench.chain.fork(3, "return"), false);
    bench.chain.stallFinality(10);
    bench.produce(5);
    assert.equal(bench.chain.finalized().header.number, 1);
    assert.equal(bench.chain.fork(7, "return"), true);
    bench.produce();
    assert.equal(bench.chain.best().header.number, 10);
    assert.equal(bench.chain.finalized().header.number, 8);
  });

  it("gives up on finality after 512 blocks, as a node tells its watchers", async () => {
    const { bench, miner } = await scene();
    bench.chain.stallFinality(100_000);
    const sent = watch(bench, bench.sign(miner, set, [netuid, { fields }]).bytes);
    const included = bench.produce();
    bench.produce(512);
    assert.deepEqual(sent.slice(1), [{ inBlock: included.hash }, { finalityTimeout: included.hash }, "end"]);
  });

  describe("on disk", () => {
    const directory = mkdtempSync(join(tmpdir(), "connito-localnet-"));
    after(() => rmSync(directory, { recursive: true, force: true }));

    async function open(kept?: number) {
      const { genesis, miner } = await subnetOf();
      const log = openBlockLog(directory, { smallestDue: 20_000 });
      return { bench: await createBench(genesis, { log, finalityLag: 4, ...(kept === undefined ? {} : { kept }) }), log, miner };
    }

    it("is the same after a restart: head, finality and states, branches and stalled finality included", async () => {
      const { bench, log, miner } = await open();
      bench.produce(6);
      bench.chain.stallFinality(12);
      bench.send(miner, set, netuid, { fields });
      bench.chain.fork(3, "return");
      bench.produce();
      log.close();
      const again = await open();
      assert.equal(again.bench.chain.best().hash, bench.chain.best().hash);
      assert.equal(again.bench.chain.finalized().hash, bench.chain.finalized().hash);
      assert.equal(again.bench.chain.finalized().header.number, 2);
      again.bench.produce(3);
      assert.equal(again.bench.chain.finalized().header.number, again.bench.chain.best().header.number - 4);
      again.log.close();
    });

    it("stays small where old state is pruned, and goes on from what is left", async () => {
      const { bench, log, miner } = await open(5);
      for (let turn = 0; turn < 15; turn++) {
        bench.send(miner, set, netuid, { fields: [{ Raw1: `0x${(turn + 16).toString(16)}` }] });
        bench.produce();
        if (turn % 4 === 0) bench.chain.fork(1, "return");
      }
      const { number } = bench.chain.finalized().header;
      assert.equal(bench.chain.stateOf(bench.chain.hashAt(number - 6) as never), undefined);
      const hashes = Array.from({ length: 10 }, (_, below) => bench.chain.hashAt(bench.chain.best().header.number - below));
      log.close();
      const again = await open(5);
      assert.deepEqual(
        hashes,
        hashes.map((_, below) => again.bench.chain.hashAt(bench.chain.best().header.number - below)),
      );
      assert.equal(again.bench.chain.genesis().hash, bench.chain.genesis().hash);
      assert.equal(again.bench.chain.hashAt(1), undefined, "the log was compacted");
      assert.equal(again.bench.send(miner, set, netuid, { fields }), "ok");
      again.log.close();
    });
  });
});
