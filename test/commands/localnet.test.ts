import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connito, startConnito } from "../cli/process.ts";

const alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const bob = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";
const fast = ["localnet", "--port", "0", "--block-time", "100ms", "--json"];

async function call(endpoint: string, method: string): Promise<unknown> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: [] });
  const response = await fetch(endpoint.replace("ws:", "http:"), { method: "POST", headers: { "content-type": "application/json" }, body });
  return ((await response.json()) as { result: unknown }).result;
}

describe("localnet command", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-localnet-"));
  });
  after(() => rm(directory, { recursive: true }));

  it("serves a chain with a subnet, says when it is ready, goes on after a restart, and ends in order when stopped", async () => {
    const state = join(directory, "chain");
    const readyFile = join(directory, "ready.json");
    const args = [...fast, "--state-dir", state, "--ready-file", readyFile, "--owner", alice, "--validator", `${bob}=5000.5`];
    const first = startConnito(args);
    await first.says('"event":"ready"');
    const ready = JSON.parse(await readFile(readyFile, "utf8"));
    assert.equal(await call(ready.endpoint, "system_chain"), await call(ready.endpoint, "system_chain"));
    while (Number(((await call(ready.endpoint, "chain_getHeader")) as { number: string }).number) < 3);
    const second = await connito(args);
    assert.deepEqual([second.code, JSON.parse(second.stdout).error.code], [11, "state-locked"]);
    first.child.kill("SIGTERM");
    const ended = await first.ended;
    assert.equal(ended.code, 0, ended.stderr);
    const { best, genesisHash } = JSON.parse(ended.stdout);
    assert.ok(best >= 3);
    assert.ok(!existsSync(readyFile));

    const again = startConnito(args);
    await again.says('"event":"ready"');
    again.child.kill("SIGINT");
    const resumed = JSON.parse((await again.ended).stdout);
    assert.equal(resumed.genesisHash, genesisHash);
    assert.ok(resumed.best >= best);
  });

  it("takes faults by command where it was started for them", async () => {
    const readyFile = join(directory, "faulty.json");
    const net = startConnito([...fast, "--faults", "--finality-lag", "5", "--ready-file", readyFile]);
    await net.says('"event":"ready"');
    const { endpoint } = JSON.parse(await readFile(readyFile, "utf8"));
    while (Number(((await call(endpoint, "chain_getHeader")) as { number: string }).number) < 4);
    const forked = await connito(["localnet", "fault", "fork", "--depth", "2", "--network", endpoint, "--json"]);
    assert.equal(forked.code, 0, forked.stderr);
    assert.deepEqual(JSON.parse(forked.stdout).fault, { kind: "fork", depth: 2, transactions: "return" });
    const impossible = await connito(["localnet", "fault", "fork", "--depth", "900", "--network", endpoint, "--json"]);
    assert.equal(JSON.parse(impossible.stdout).error.code, "fault-impossible");
    net.child.kill("SIGTERM");
    assert.equal((await net.ended).code, 0);
  });

  it("refuses times, stakes and addresses that cannot be", async () => {
    const wrong: readonly (readonly [args: readonly string[], exit: number])[] = [
      [["--block-time", "40ms"], 2],
      [["--block-time", "soon"], 2],
      [["--miner", alice], 2],
      [["--owner", alice, "--validator", `${bob}=much`], 2],
      [["--owner", "5nonsense"], 13],
    ];
    for (const [args, exit] of wrong) {
      const { code, stdout } = await connito([...fast, ...args]);
      assert.equal(code, exit, `${args.join(" ")}: ${stdout}`);
      assert.ok(JSON.parse(stdout).error.hint.length > 0);
    }
  });
});
