/** What a public chain does to its clients sooner or later, done on command: nothing is counted that is not final, and nothing is lost or done twice. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Chain, Signer } from "../../src/chain/client.ts";
import type { Localnet } from "../../src/chain/localnet/index.ts";
import type { Context } from "../../src/steps/context.ts";
import { sendRecord } from "../../src/steps/send-record.ts";
import { openJournal } from "../../src/workspace/journal.ts";
import { inTemporaryDirectory } from "../workspace/support.ts";
import { createOpened, netuid, people } from "./support.ts";

const blockTime = 60;
const record = (fill: number): Uint8Array => new Uint8Array(39).fill(fill);

describe("chain/faults", () => {
  const opened = createOpened();
  let net: Localnet;
  let chain: Chain;
  let miner: Signer;

  before(async () => {
    miner = (await people()).miners[0];
    net = await opened.localnet({ blockTime, finalityLag: 6 });
    chain = await opened.chain(net.endpoint);
    await chain.finalizedHead();
  });
  afterEach(() => net.inject({ kind: "heal" }));
  after(() => opened.close());

  async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await condition())) await pause(10);
  }

  /** The block that holds the record on the branch of a block, undefined where there is none. */
  async function blockOf(fill: number, at = net.best().hash): Promise<number | undefined> {
    const found = (await chain.commitments(netuid, at)).find(({ hotkey }) => hotkey === miner.address);
    return found?.fields[0]?.[0] === fill ? found.block : undefined;
  }

  /** Waits until a block that is not final yet holds the record, and makes no more blocks. */
  async function includedAndStill(fill: number): Promise<number> {
    let block: number | undefined;
    await until(async () => {
      block = await blockOf(fill);
      return block !== undefined;
    });
    net.inject({ kind: "stall-blocks", seconds: 600 });
    return block as number;
  }

  /** Another branch leaves below a block and is longer; what only the lost blocks held is in no pool either. */
  function orphan(block: number): void {
    net.inject({ kind: "fork", depth: net.best().number - block + 1, transactions: "vanish" });
  }

  it("a record whose block is orphaned is sent again, and only what is final is counted", async () => {
    net.inject({ kind: "stall-finality", blocks: 1000 });
    const sending = chain.setCommitment(miner, netuid, record(1));
    const lost = await includedAndStill(1);
    const lostHash = await chain.blockHash(lost);
    orphan(lost);
    assert.equal(await blockOf(1), undefined);
    net.inject({ kind: "heal" });
    const { block, hash, already } = await sending;
    assert.equal(already, false);
    assert.ok(block > lost);
    assert.notEqual(hash, lostHash);
    assert.equal(await chain.blockHash(block), hash);
    assert.equal(await blockOf(1, (await chain.finalizedHead()).hash), block);
  });

  it("a journal says nothing of what is not final: a run that ends in between sends the same record again", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const stop = new AbortController();
      let prepared = 0;
      const commit = async (signal: AbortSignal) => {
        const journal = await openJournal(path, { create: true });
        try {
          const context = { workspace: { journal }, chain, signer: miner, netuid, signal } as unknown as Context;
          const prepare = async () => ({ record: record(10 + ++prepared), notes: {} });
          return await sendRecord(context, { key: "commit/1", prepare });
        } finally {
          await journal.close();
        }
      };
      net.inject({ kind: "stall-finality", blocks: 1000 });
      const first = commit(stop.signal);
      const lost = await includedAndStill(11);
      stop.abort(new Error("power cut"));
      await assert.rejects(first, /power cut/);
      const reader = await openJournal(path, { readOnly: true });
      const { intent, effect } = reader.find("commit/1");
      await reader.close();
      assert.notEqual(intent, undefined);
      assert.equal(effect, undefined);
      orphan(lost);
      net.inject({ kind: "heal" });
      const { block, alreadyDone } = await commit(new AbortController().signal);
      assert.deepEqual([prepared, alreadyDone], [1, false]);
      assert.ok(block > lost);
      assert.equal(await blockOf(11, (await chain.finalizedHead()).hash), block);
    }));

  it("what is included before its window does not count", async () => {
    const from = net.best().number + 6;
    const { block } = await chain.setCommitment(miner, netuid, record(2), { from });
    assert.ok(block >= from);
    assert.equal(await blockOf(2, (await chain.finalizedHead()).hash), block);
  });

  it("stalled finality is waited for", async () => {
    net.inject({ kind: "stall-finality", blocks: 1000 });
    let settled = false;
    const sending = chain.setCommitment(miner, netuid, record(3)).finally(() => {
      settled = true;
    });
    await until(async () => (await blockOf(3)) !== undefined);
    const { number } = net.best();
    await until(() => net.best().number > number + 8);
    assert.equal(settled, false);
    net.inject({ kind: "heal" });
    const { block } = await sending;
    assert.ok(block <= net.finalized().number);
  });

  it("a transaction whose era ends while finality stalls is late, not wrong", async () => {
    net.inject({ kind: "hold", count: 1, blocks: 100 });
    net.inject({ kind: "stall-finality", blocks: 26 });
    const last = net.best().number + 6;
    await assert.rejects(chain.setCommitment(miner, netuid, record(12), { until: last }), { code: "deadline-missed" });
    net.inject({ kind: "heal" });
  });

  it("a transaction that the pool lost without a word is sent again in time for its window", async () => {
    net.inject({ kind: "drop", count: 1 });
    const last = net.best().number + 40;
    const { block } = await chain.setCommitment(miner, netuid, record(4), { until: last });
    assert.ok(block <= last);
  });

  it("a pool that has no room is asked again, one that finds the transaction wrong is believed", async () => {
    net.inject({ kind: "refuse", reason: "full", count: 2 });
    assert.equal((await chain.setCommitment(miner, netuid, record(5))).already, false);
    net.inject({ kind: "refuse", reason: "invalid", count: 1 });
    await assert.rejects(chain.setCommitment(miner, netuid, record(6)), {
      code: "extrinsic-rejected",
      exit: 31,
      reason: "pool.1010",
      message: /bad signature/,
      hint: /the transaction invalid/,
    });
  });

  it("answers that come late or are refused for their number are waited out", async () => {
    net.inject({ kind: "delay", milliseconds: 50, seconds: 0.5 });
    assert.equal((await chain.setCommitment(miner, netuid, record(7))).already, false);
    net.inject({ kind: "rate-limit", perSecond: 0, seconds: 0.5 });
    assert.equal((await chain.setCommitment(miner, netuid, record(8))).already, false);
  });

  it("an endpoint that hangs up is left for the next one, and the record is written once", async () => {
    const proxy = await opened.proxy(net.endpoint);
    const two = await opened.chain([proxy.endpoint, net.endpoint]);
    assert.equal(two.endpoint(), proxy.endpoint);
    const sending = two.setCommitment(miner, netuid, record(9));
    await includedAndStill(9);
    await proxy.close();
    net.inject({ kind: "heal" });
    const { block } = await sending;
    assert.equal(two.endpoint(), net.endpoint);
    assert.equal(await blockOf(9, (await chain.finalizedHead()).hash), block);
  });
});
