/** SIGKILL at any moment loses nothing that anybody was told. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { openBlockLog } from "../../../src/chain/localnet/block-log.ts";
import { createBench } from "./support.ts";

describe("a localnet that is killed", () => {
  const directory = mkdtempSync(join(tmpdir(), "connito-localnet-"));
  after(() => rmSync(directory, { recursive: true, force: true }));

  /** Hashes by number of what a client is told of a process until that dies; after some heads it is killed. */
  async function followToDeath(child: ChildProcess, endpoint: string, heads: number): Promise<Map<number, string>> {
    const hashes = new Map<number, string>();
    const socket = new WebSocket(endpoint);
    await once(socket, "open");
    const ask = (id: number, method: string, ...params: unknown[]) => socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    ask(0, "chain_subscribeNewHeads");
    let count = 0;
    socket.on("message", (data) => {
      const { id, result, params } = JSON.parse(String(data)) as { id?: number; result?: string; params?: { result: { number: string } } };
      if (params !== undefined) {
        ask(Number(params.result.number), "chain_getBlockHash", Number(params.result.number));
        count++;
        if (count === heads) {
          child.kill("SIGKILL");
        }
      } else if (id !== undefined && id > 0) {
        hashes.set(id, result as string);
      }
    });
    socket.on("error", () => undefined);
    await once(socket, "close");
    return hashes;
  }

  it("is the same chain when it comes back, and goes on", async () => {
    const script = join(import.meta.dirname, "fixture/localnet-process.ts");
    const child = spawn(process.execPath, ["--import", "tsx", script, directory], { stdio: ["ignore", "pipe", "inherit"] });
    assert.ok(child.stdout);
    const [endpoint] = (await once(createInterface(child.stdout), "line")) as [string];
    const hashes = await followToDeath(child, endpoint, 6);
    assert.ok(hashes.size >= 4);
    const log = openBlockLog(directory);
    const bench = await createBench({}, { log });
    for (const [number, hash] of hashes) {
      assert.equal(bench.chain.blockAt(number)?.hash, hash);
    }
    const { number } = bench.chain.best().header;
    assert.equal(bench.produce().header.number, number + 1);
    log.close();
  });
});
