/**
 * The chain's two speeds. (1) Whether the localnet holds 20 blocks/s while 256 neurons commit in every cycle of 45 blocks, and in how much
 * memory: compared with its own clock, which is the limit. (2) How long a transaction of the command line takes from the start of its
 * process until a block has it, on 250 ms blocks: compared with the start-up of the same program alone and half a block's wait, below which
 * it cannot be. Both run the built program: `npm run build` first.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Keyring } from "@polkadot/keyring";
import type { KeyringPair } from "@polkadot/keyring/types";
import { expandMetadata, Metadata } from "@polkadot/types";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { createRuntime } from "../src/chain/localnet/runtime/runtime.ts";
import { version } from "../src/chain/localnet/runtime/version.ts";

const neurons = 256;
const blocksPerCycle = 45;
const cycles = 6;
const program = join(import.meta.dirname, "../bin/run.js");
const alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

interface Node {
  readonly child: ChildProcess;
  readonly endpoint: string;
  readonly genesisHash: string;
  ask<T>(method: string, ...params: unknown[]): Promise<T>;
  stop(): Promise<void>;
}

async function startNode(...flags: string[]): Promise<Node> {
  const directory = mkdtempSync(join(tmpdir(), "connito-bench-chain-"));
  const readyFile = join(directory, "ready.json");
  const child = spawn(process.execPath, [program, "localnet", "--port", "0", "--ready-file", readyFile, ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (text: Buffer) => {
    said += text.toString();
  });
  while (!said.includes("Localnet at")) {
    if (child.exitCode !== null) throw new Error(`the localnet ended: ${said}`);
    await pause(20);
  }
  const { endpoint, genesisHash } = JSON.parse(readFileSync(readyFile, "utf8")) as { endpoint: string; genesisHash: string };
  return {
    child,
    endpoint,
    genesisHash,
    async ask<T>(method: string, ...params: unknown[]): Promise<T> {
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
      const response = await fetch(endpoint.replace("ws:", "http:"), {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      const { result, error } = (await response.json()) as { result: T; error?: { message: string } };
      if (error !== undefined) throw new Error(`${method}: ${error.message}`);
      return result;
    },
    async stop() {
      const closed = once(child, "close");
      child.kill("SIGTERM");
      await closed;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Resident memory of a process in MB, where the system tells. */
function residentMegabytes({ pid }: ChildProcess): number | undefined {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
  } catch {
    return undefined;
  }
}

const headOf = async (node: Node): Promise<number> => Number((await node.ask<{ number: string }>("chain_getHeader")).number);

/** A commitment of each pair for each cycle, signed beforehand: only the node is to be measured. */
function signed(pairs: readonly KeyringPair[], genesisHash: string): string[][] {
  const { registry, encoded } = createRuntime(50).metadata;
  const { tx } = expandMetadata(registry, new Metadata(registry, encoded(15)));
  return Array.from({ length: cycles }, (_, nonce) =>
    pairs.map((pair) => {
      const method = tx.commitments?.setCommitment?.(1, { fields: [{ Raw39: `0x${nonce.toString(16).padStart(2, "0").repeat(39)}` }] });
      const extrinsic = registry.createType("Extrinsic", { method }, { version: 4 });
      const { specVersion, transactionVersion } = version;
      extrinsic.sign(pair, { blockHash: genesisHash, genesisHash, nonce, runtimeVersion: { specVersion, transactionVersion } as never });
      return extrinsic.toHex();
    }),
  );
}

async function throughput() {
  const keyring = new Keyring({ type: "sr25519" });
  const pairs = Array.from({ length: neurons }, (_, index) => keyring.addFromUri(`//Neuron//${index}`));
  const node = await startNode("--block-time", "50ms", "--owner", alice, ...pairs.flatMap(({ address }) => ["--miner", address]));
  try {
    const batches = signed(pairs, node.genesisHash);
    let most = 0;
    let accepted = 0;
    const first = await headOf(node);
    const begun = performance.now();
    for (const [cycle, batch] of batches.entries()) {
      await Promise.all(batch.map((extrinsic) => node.ask("author_submitExtrinsic", extrinsic).then(() => accepted++)));
      while ((await headOf(node)) < first + (cycle + 1) * blocksPerCycle) await pause(25);
      most = Math.max(most, residentMegabytes(node.child) ?? Number.NaN);
    }
    const seconds = (performance.now() - begun) / 1000;
    const blocks = (await headOf(node)) - first;
    const pending = (await node.ask<unknown[]>("author_pendingExtrinsics")).length;
    return {
      blocksPerSecond: blocks / seconds,
      clock: 20,
      ratio: blocks / seconds / 20,
      residentMegabytes: most,
      accepted,
      pending,
      blocks,
    };
  } finally {
    await node.stop();
  }
}

async function timeOf(args: readonly string[], until: (child: ChildProcess) => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  const child = spawn(process.execPath, [program, ...args], { stdio: "ignore" });
  const closed = once(child, "close");
  await until(child);
  const milliseconds = performance.now() - begun;
  await closed;
  return milliseconds;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] as number;

async function transactionTime() {
  const node = await startNode("--block-time", "250ms");
  try {
    const included = async (): Promise<void> => {
      for (let next = (await headOf(node)) + 1; ; ) {
        const hash = await node.ask<string | null>("chain_getBlockHash", next);
        if (hash === null) {
          await pause(5);
          continue;
        }
        const { block } = await node.ask<{ block: { extrinsics: unknown[] } }>("chain_getBlock", hash);
        if (block.extrinsics.length > 1) return;
        next += 1;
      }
    };
    const sends: number[] = [];
    const starts: number[] = [];
    for (let turn = 0; turn < 5; turn++) {
      sends.push(await timeOf(["localnet", "faucet", alice, "--amount", "1", "--network", node.endpoint], included));
      starts.push(await timeOf(["--version"], (child) => once(child, "close")));
    }
    const limit = median(starts) + 125;
    return { startToInBlock: median(sends), startUpAlone: median(starts), limit, ratio: median(sends) / limit };
  } finally {
    await node.stop();
  }
}

export async function run(): Promise<void> {
  await cryptoWaitReady();
  const result = { localnet: await throughput(), transaction: await transactionTime() };
  if (process.argv.includes("--json")) {
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const { localnet, transaction } = result;
  process.stdout.write(
    [
      `localnet, ${neurons} neurons committing every ${blocksPerCycle} blocks: ${localnet.blocksPerSecond.toFixed(1)} blocks/s of ${localnet.clock} by its clock (${localnet.ratio.toFixed(2)}), ${localnet.residentMegabytes.toFixed(0)} MB`,
      `a transaction on 250 ms blocks, start of the process to in-block: ${transaction.startToInBlock.toFixed(0)} ms; start-up alone and half a block: ${transaction.limit.toFixed(0)} ms (${transaction.ratio.toFixed(2)})`,
      "",
    ].join("\n"),
  );
}
