/**
 * Two miners write a record in every cycle, on a chain at 10 blocks/s that has a fault in each: forks, lost and held transactions, refusals,
 * delays, stalls, broken connections, restarts; and now and then a miner is stopped in the middle and begins again from its journal. In the
 * end the journals and the chain must say the same.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Chain, connectChain } from "../../src/chain/client.ts";
import type { Fault } from "../../src/chain/localnet/faults/fault.ts";
import { type Localnet, startLocalnet } from "../../src/chain/localnet/index.ts";
import type { Signer } from "../../src/chain/signer.ts";
import { ConnitoError } from "../../src/errors.ts";
import { fromHex, toHex } from "../../src/protocol/hash.ts";
import type { Context } from "../../src/steps/context.ts";
import { sendRecord } from "../../src/steps/send-record.ts";
import { type Journal, openJournal } from "../../src/workspace/journal.ts";
import { createSampler } from "./localnet/sampler.ts";
import { genesisOf, netuid, people } from "./support.ts";

export interface SoakResult {
  readonly cycles: number;
  readonly blocks: number;
  readonly faults: Readonly<Record<string, number>>;
  /** Times that a miner was stopped in the middle of sending. */
  readonly interrupted: number;
  /** Records that journal and chain agree on, and those whose time had passed before they could be written. */
  readonly written: number;
  readonly missed: number;
}

const blockTime = 100;
/** Blocks in which a record counts; a fault leaves time enough, several in a row need not. */
const window = 80;
const recordBytes = 39;

const faultsDrawn: ((draw: () => number) => Fault)[] = [
  (draw) => ({ kind: "fork", depth: 1 + Math.floor(draw() * 3), transactions: "return" }),
  (draw) => ({ kind: "fork", depth: 1 + Math.floor(draw() * 3), transactions: "vanish" }),
  () => ({ kind: "drop", count: 1 }),
  () => ({ kind: "hold", blocks: 4 }),
  () => ({ kind: "refuse", reason: "full", count: 2 }),
  () => ({ kind: "delay", milliseconds: 60, seconds: 0.5 }),
  () => ({ kind: "rate-limit", perSecond: 20, seconds: 1 }),
  () => ({ kind: "stall-finality", blocks: 8 }),
  () => ({ kind: "stall-blocks", seconds: 0.4 }),
  () => ({ kind: "disconnect", seconds: 0.2 }),
  () => ({ kind: "restart", seconds: 0.2 }),
];

interface Miner {
  readonly signer: Signer;
  readonly path: string;
  journal: Journal;
  chain: Chain;
}

const keyOf = (cycle: number): string => `commit/${cycle}`;

export async function soak(directory: string, cycles: number, seed: number): Promise<SoakResult> {
  const { next, shuffled } = createSampler(seed);
  const who = await people();
  const net = await startLocalnet({ port: 0, blockTime, finalityLag: 4, pruning: "archive", genesis: genesisOf(who) });
  const connect = () => connectChain({ endpoints: [net.endpoint] });
  const miners: Miner[] = [];
  const faults: Record<string, number> = {};
  let interrupted = 0;
  let missed = 0;
  try {
    for (const [index, signer] of who.miners.entries()) {
      const path = join(directory, `miner-${index}.journal`);
      miners.push({ signer, path, journal: await openJournal(path, { create: true }), chain: await connect() });
    }

    /** Sends until it is done or its time has passed; stopped at the given moment, it begins again from the disk. */
    async function write(miner: Miner, cycle: number, until: number, stopAfter: number | undefined): Promise<void> {
      const signal = stopAfter === undefined ? new AbortController().signal : AbortSignal.timeout(stopAfter);
      const context = { workspace: miner, chain: miner.chain, netuid, signer: miner.signer, signal } as unknown as Context;
      const prepare = async () => ({ record: fromHex(toHex(crypto.getRandomValues(new Uint8Array(recordBytes)))), notes: {} });
      try {
        await sendRecord(context, { key: keyOf(cycle), prepare, until });
      } catch (error) {
        if (signal.aborted) {
          interrupted += 1;
          miner.chain.disconnect();
          await miner.journal.close();
          miner.journal = await openJournal(miner.path);
          miner.chain = await connect();
          return write(miner, cycle, until, undefined);
        }
        if (error instanceof ConnitoError && error.code === "deadline-missed") {
          missed += 1;
          return;
        }
        if (!(error instanceof ConnitoError) || !error.retryable) throw error;
        await pause(200);
        return write(miner, cycle, until, undefined);
      }
    }

    let order: typeof faultsDrawn = [];
    for (let cycle = 0; cycle < cycles; cycle++) {
      if (order.length === 0) order = shuffled(faultsDrawn);
      const fault = (order.pop() as (typeof faultsDrawn)[number])(next);
      const until = net.best().number + window;
      const writing = Promise.all(
        miners.map((miner) => write(miner, cycle, until, next() < 0.15 ? 50 + Math.floor(600 * next()) : undefined)),
      );
      await Promise.race([writing, pause(600 * next())]);
      try {
        net.inject(fault);
        faults[fault.kind] = (faults[fault.kind] ?? 0) + 1;
      } catch (error) {
        // A fork so deep may have become impossible meanwhile.
        if ((error as ConnitoError).code !== "fault-impossible") throw error;
      }
      await writing;
    }
    net.inject({ kind: "heal" });
    const written = await compare(net, miners);
    return { cycles, blocks: net.best().number, faults, interrupted, written, missed };
  } finally {
    for (const { chain, journal } of miners) {
      chain.disconnect();
      await journal.close();
    }
    await net.stop();
  }
}

/** Every effect in a journal is on the chain at its block, and nothing else is. @returns how many */
async function compare(net: Localnet, miners: readonly Miner[]): Promise<number> {
  const [{ chain }] = miners as [Miner];
  const onChain = new Set<string>();
  const end = (await chain.finalizedHead()).number;
  for (let number = 1; number <= end; number++) {
    for (const { hotkey, block, fields } of await chain.commitments(netuid, await chain.blockHash(number))) {
      if (block === number) onChain.add(`${hotkey} ${block} ${toHex(fields[0] as Uint8Array)}`);
    }
  }
  const noted = new Set<string>();
  for (const { journal, signer } of miners) {
    const keys = new Set(journal.entries().map(({ key }) => key));
    for (const key of keys) {
      const { intent, effect } = journal.find(key);
      if (intent !== undefined && effect !== undefined) {
        noted.add(`${signer.address} ${(effect.data as { block: number }).block} ${(intent.data as { record: string }).record}`);
      }
    }
  }
  assert.deepEqual([...noted].sort(), [...onChain].sort());
  assert.ok(net.finalized().number >= end);
  return noted.size;
}
