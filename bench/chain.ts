/**
 * The chain's two speeds. (1) Whether the localnet holds 20 blocks/s while 256 neurons commit in every cycle of 45 blocks, and in how much
 * memory: compared with its own clock, which is the limit. (2) How long `connito commit` takes from the start of its process until a block
 * has the commitment, on 250 ms blocks: compared with the start-up of the same program alone and half a block's wait, below which it cannot be. Both run the built program: `npm run build` first.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Keyring } from "@polkadot/keyring";
import type { KeyringPair } from "@polkadot/keyring/types";
import { expandMetadata, Metadata } from "@polkadot/types";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { createRuntime } from "../src/chain/localnet/runtime/runtime.ts";
import { version } from "../src/chain/localnet/runtime/version.ts";
import { openWorkspace } from "../src/workspace/workspace.ts";
import { openScene } from "../test/commands/scene.ts";

const neurons = 256;
const blocksPerCycle = 45;
const cycles = 6;
const program = join(import.meta.dirname, "../bin/run.js");
const alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

interface Node {
  readonly child: ChildProcess;
  readonly endpoint: string;
  readonly genesisHash: string;
  readonly ask: Ask;
  stop(): Promise<void>;
}

type Ask = <T>(method: string, ...params: unknown[]) => Promise<T>;

/** JSON-RPC over HTTP, a request at a time. */
function asker(endpoint: string): Ask {
  return async <T>(method: string, ...params: unknown[]) => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const response = await fetch(endpoint.replace("ws:", "http:"), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    const { result, error } = (await response.json()) as { result: T; error?: { message: string } };
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  };
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
    ask: asker(endpoint),
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

async function timeOf(args: readonly string[], env: Record<string, string>, until: (child: ChildProcess) => Promise<unknown>) {
  const begun = performance.now();
  const child = spawn(process.execPath, [program, ...args], { stdio: "ignore", env: { ...process.env, ...env } });
  const closed = once(child, "close");
  await until(child);
  const milliseconds = performance.now() - begun;
  const [code] = await closed;
  if (code !== 0) throw new Error(`connito ${args.join(" ")} ended with ${code}`);
  return milliseconds;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] as number;

/** A miner's state directory as `train` leaves it. */
async function leaveSubmission(directory: string, base: string, group: number): Promise<void> {
  const workspace = await openWorkspace(directory, { lock: true });
  await mkdir(workspace.layout.cycle(0), { recursive: true });
  const submission = { root: "ab".repeat(32), cycle: 0, group, base, bytes: 1, steps: 1, tokens: 1 };
  await writeFile(workspace.layout.cycle(0, "submission.json"), JSON.stringify(submission));
  await workspace.close();
}

/** `connito commit` of a miner who has trained; each time in a state directory of its own, so that there is something to send. */
async function commitTime() {
  const scene = await openScene({ phases: { distribute: 1, train: 1, commit: 100_000, reveal: 3, score: 3, merge: 5 }, blockTime: 250 });
  const ask = asker(scene.localnet.endpoint);
  try {
    const included = async (): Promise<void> => {
      for (let next = scene.localnet.best().number + 1; ; ) {
        const hash = await ask<string | null>("chain_getBlockHash", next);
        if (hash === null) {
          await pause(5);
          continue;
        }
        const { block } = await ask<{ block: { extrinsics: unknown[] } }>("chain_getBlock", hash);
        if (block.extrinsics.length > 1) return;
        next += 1;
      }
    };
    const { stdout } = await scene.run("miner", ["assign", "--wait", "--json"]);
    const { group } = JSON.parse(stdout) as { group: number };
    const sends: number[] = [];
    const starts: number[] = [];
    for (let turn = 0; turn < 7; turn++) {
      const environment = scene.environment("miner", `turn-${turn}`);
      await leaveSubmission(environment["CONNITO_STATE_DIR"] as string, scene.task.task.model.root, group);
      sends.push(await timeOf(["commit", "--cycle", "0"], environment, included));
      starts.push(await timeOf(["--version"], environment, (child) => once(child, "close")));
    }
    const limit = median(starts) + 125;
    return { startToInBlock: median(sends), startUpAlone: median(starts), limit, ratio: median(sends) / limit };
  } finally {
    await scene.close();
  }
}

export async function run(): Promise<void> {
  await cryptoWaitReady();
  const result = { localnet: await throughput(), commit: await commitTime() };
  if (process.argv.includes("--json")) {
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const { localnet, commit } = result;
  process.stdout.write(
    [
      `localnet, ${neurons} neurons committing every ${blocksPerCycle} blocks: ${localnet.blocksPerSecond.toFixed(1)} blocks/s of ${localnet.clock} by its clock (${localnet.ratio.toFixed(2)}), ${localnet.residentMegabytes.toFixed(0)} MB`,
      `connito commit on 250 ms blocks, start of the process to in-block: ${commit.startToInBlock.toFixed(0)} ms; start-up alone and half a block: ${commit.limit.toFixed(0)} ms (${commit.ratio.toFixed(2)})`,
      "",
    ].join("\n"),
  );
}
