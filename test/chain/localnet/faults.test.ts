/** Faults on command, as a client of a running localnet meets them. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { WebSocket } from "ws";
import type { Fault } from "../../../src/chain/localnet/faults/fault.ts";
import { type Localnet, startLocalnet } from "../../../src/chain/localnet/index.ts";
import { createBench, pairOf, type Signing, sharedRuntime } from "./support.ts";

interface Answer {
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string };
}

async function post(net: Localnet, method: string, ...params: unknown[]): Promise<Answer> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const headers = { "content-type": "application/json" };
  return (await (await fetch(`http://127.0.0.1:${net.port}`, { method: "POST", headers, body })).json()) as Answer;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await pause(10);
}

describe("a localnet's faults", () => {
  let net: Localnet;
  let bench: Awaited<ReturnType<typeof createBench>>;
  let nonce = 0;

  before(async () => {
    await sharedRuntime();
    net = await startLocalnet({ port: 0, blockTime: 50, finalityLag: 3, faults: true });
    bench = await createBench();
    assert.equal(bench.chain.genesis().hash, net.genesisHash);
  });
  after(() => net.stop());
  afterEach(() => net.inject({ kind: "heal" }));

  /** A remark of //Alice's, whose nonces are counted here. */
  async function submit(options: Signing = {}): Promise<Answer> {
    const extrinsic = bench.sign(await pairOf("//Alice"), "system.remark", [`0x${Date.now().toString(16).padStart(12, "0")}`], {
      nonce,
      ...options,
    });
    return post(net, "author_submitExtrinsic", extrinsic.bytes);
  }
  async function used(): Promise<number> {
    const alice = (await pairOf("//Alice")).address;
    return Number((await post(net, "system_accountNextIndex", alice)).result);
  }

  it("drops what it accepted, so often as told", async () => {
    net.inject({ kind: "drop", count: 1 });
    assert.equal(typeof (await submit()).result, "string");
    assert.equal(await used(), nonce);
    assert.equal(typeof (await submit()).result, "string");
    nonce++;
    assert.equal(await used(), nonce);
  });

  it("holds a transaction back for some blocks", async () => {
    net.inject({ kind: "hold", blocks: 6 });
    const from = net.best().number;
    await submit();
    nonce++;
    await until(async () => ((await post(net, "author_pendingExtrinsics")).result as unknown[]).length === 0);
    assert.ok(net.best().number >= from + 6);
  });

  it("refuses with the codes of Substrate's pool", async () => {
    for (const [reason, code] of [
      ["full", 1016],
      ["banned", 1012],
      ["priority", 1014],
      ["unknown", 1011],
      ["invalid", 1010],
    ] as const) {
      net.inject({ kind: "refuse", reason, count: 1 });
      assert.equal((await submit()).error?.code, code);
    }
    assert.equal(typeof (await submit()).result, "string");
    nonce++;
  });

  it("answers late, and not at all too often", async () => {
    net.inject({ kind: "delay", milliseconds: 150, seconds: 10 });
    const begun = Date.now();
    await post(net, "system_chain");
    assert.ok(Date.now() - begun >= 150);
    net.inject({ kind: "heal" });
    net.inject({ kind: "rate-limit", perSecond: 0, seconds: 10 });
    assert.equal((await post(net, "system_chain")).error?.code, -32_999);
    assert.equal((await post(net, "connito_injectFault", { kind: "heal" })).result, true);
    assert.equal((await post(net, "system_chain")).error, undefined);
  });

  it("stalls finality while blocks go on, and blocks altogether", async () => {
    net.inject({ kind: "stall-finality", blocks: 8 });
    const final = net.finalized().number;
    const best = net.best().number;
    await until(() => net.best().number >= best + 6);
    assert.equal(net.finalized().number, final);
    await until(() => net.finalized().number >= best + 5);
    net.inject({ kind: "stall-blocks", seconds: 60 });
    const still = net.best().number;
    await pause(150);
    assert.equal(net.best().number, still);
    net.inject({ kind: "heal" });
    await until(() => net.best().number > still);
  });

  it("makes blocks at once, also where none would come", async () => {
    net.inject({ kind: "stall-blocks", seconds: 60 });
    const { number } = net.best();
    net.inject({ kind: "burst", blocks: 40 });
    assert.equal(net.best().number, number + 40);
    assert.equal(net.finalized().number, number + 37);
  });

  it("breaks connections, and refuses new ones for a while", async () => {
    const socket = new WebSocket(net.endpoint);
    await once(socket, "open");
    net.inject({ kind: "disconnect", seconds: 0.2 });
    await once(socket, "close");
    const refused = new WebSocket(net.endpoint);
    refused.on("error", () => undefined);
    await once(refused, "close");
    await pause(250);
    const back = new WebSocket(net.endpoint);
    await once(back, "open");
    back.terminate();
  });

  it("restarts on its port with its blocks and without its pool", async () => {
    net.inject({ kind: "hold", blocks: 1000 });
    await submit();
    assert.equal(await used(), nonce + 1);
    const { hash, number } = net.best();
    net.inject({ kind: "restart", seconds: 0.1 });
    await until(() => net.best().number > number + 1);
    assert.equal((await post(net, "chain_getBlockHash", number)).result, hash);
    assert.equal(await used(), nonce);
  });

  it("takes them from another process, refuses what cannot be, and serves none unless started for it", async () => {
    const { injectFault } = await import("../../../src/chain/localnet/faults/inject.ts");
    const inject = (fault: Fault) => injectFault([net.endpoint], fault);
    await inject({ kind: "fork", depth: 2 });
    await assert.rejects(inject({ kind: "fork", depth: 100 }), { code: "fault-impossible", message: /Finality has passed/ });
    assert.equal((await post(net, "connito_injectFault", { kind: "storm" })).error?.code, -32_602);
    const plain = await startLocalnet({ port: 0, blockTime: 1000 });
    await assert.rejects(injectFault([plain.endpoint], { kind: "heal" }), { code: "faults-not-served" });
    await plain.stop();
    await assert.rejects(startLocalnet({ port: 0, blockTime: 1000, host: "0.0.0.0", faults: true }), { code: "localnet-option-invalid" });
  });
});
