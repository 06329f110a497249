/** The server on a real socket, asked by hand: what it bounds, what it refuses, and what clients other than polkadot.js ask. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { WebSocket } from "ws";
import { type Localnet, startLocalnet } from "../../../../src/chain/localnet/index.ts";

describe("the localnet's server", () => {
  let net: Localnet;
  let socket: WebSocket;

  before(async () => {
    net = await startLocalnet({ port: 0, blockTime: 100 });
    socket = new WebSocket(net.endpoint);
    await once(socket, "open");
  });
  after(async () => {
    socket.terminate();
    await net.stop();
  });

  interface Answer {
    readonly id?: unknown;
    readonly result?: unknown;
    readonly error?: { readonly code: number; readonly message: string };
    readonly method?: string;
  }

  /** The next message that is no notification. */
  async function raw(text: string): Promise<Answer | Answer[]> {
    socket.send(text);
    for (;;) {
      const [data] = (await once(socket, "message")) as [Buffer];
      const message = JSON.parse(String(data)) as Answer | Answer[];
      if (Array.isArray(message) || message.method === undefined) {
        return message;
      }
    }
  }

  const ask = async (method: string, ...params: unknown[]) =>
    (await raw(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }))) as Answer;
  const codeOf = async (method: string, ...params: unknown[]) => (await ask(method, ...params)).error?.code;

  it("names its methods, and answers for all of them that need no parameters", async () => {
    const { methods } = (await ask("rpc_methods")).result as { methods: string[] };
    for (const name of ["chain_getBlock", "state_call", "author_submitAndWatchExtrinsic", "system_accountNextIndex", "payment_queryInfo"]) {
      assert.ok(methods.includes(name), name);
    }
    const without = methods.filter(
      (name) => /^(system_|chain_get|state_get(Metadata|RuntimeVersion))/.test(name) && name !== "system_accountNextIndex",
    );
    for (const name of without) {
      assert.equal((await ask(name)).error, undefined, name);
    }
  });

  it("answers errors in JSON-RPC's words: no JSON, no request, no such method, bad parameters, no such block", async () => {
    assert.equal(((await raw("{")) as Answer).error?.code, -32700);
    assert.equal(((await raw('{"id":1}')) as Answer).error?.code, -32600);
    assert.equal(((await raw("[]")) as Answer).error?.code, -32600);
    assert.equal(await codeOf("no_such"), -32601);
    assert.equal(await codeOf("constructor"), -32601);
    for (const params of [["0x0"], ["zz"], ["0x0g"], [7], [`0x${"00".repeat(2000)}`]]) {
      assert.equal(await codeOf("state_getStorage", ...params), -32602, String(params));
    }
    assert.equal(await codeOf("state_getStorage", "0x00", `0x${"ab".repeat(32)}`), 4003);
    assert.equal(await codeOf("state_getKeysPaged", "0x", 100_000), -32602);
    assert.equal(await codeOf("state_call", "Nothing_here", "0x"), 4003);
    assert.equal(await codeOf("author_submitExtrinsic", "0x280403000b"), 1001);
    assert.equal((await ask("chain_getHeader", `0x${"ab".repeat(32)}`)).result, null);
  });

  it("reads hex with and without its prefix, in either case", async () => {
    const version = (await ask("state_call", "Core_version", "0x")).result;
    assert.equal(typeof version, "string");
    assert.equal((await ask("state_call", "Core_version", "")).result, version);
    const { hash } = net.best();
    assert.deepEqual((await ask("chain_getHeader", hash.slice(2).toUpperCase())).result, (await ask("chain_getHeader", hash)).result);
  });

  it("answers a batch as a batch", async () => {
    const answers = (await raw(
      '[{"jsonrpc":"2.0","id":1,"method":"system_chain"},{"jsonrpc":"2.0","id":"two","method":"chain_getBlockHash","params":[0]}]',
    )) as Answer[];
    assert.deepEqual(
      answers.map(({ id, result }) => [id, result]),
      [
        [1, "Connito Localnet"],
        ["two", net.genesisHash],
      ],
    );
  });

  it("gives a subscription's id before its first notification", async () => {
    const other = new WebSocket(net.endpoint);
    await once(other, "open");
    const messages: Answer[] = [];
    other.on("message", (data) => messages.push(JSON.parse(String(data)) as Answer));
    other.send('{"jsonrpc":"2.0","id":1,"method":"chain_subscribeNewHeads","params":[]}');
    while (messages.length < 3) {
      await once(other, "message");
    }
    assert.equal(messages[0]?.id, 1);
    assert.ok(messages.slice(1).every(({ method }) => method === "chain_newHead"));
    other.terminate();
  });

  it("ends subscriptions with their connection, and takes no more than it can bear", async () => {
    const other = new WebSocket(net.endpoint);
    await once(other, "open");
    const request = { jsonrpc: "2.0", method: "state_subscribeStorage", params: [["0x00"]] };
    const batch = Array.from({ length: 1000 }, (_, id) => ({ ...request, id }));
    const [first, second] = await new Promise<Answer[][]>((resolve) => {
      const batches: Answer[][] = [];
      other.on("message", (data) => {
        const message = JSON.parse(String(data)) as Answer | Answer[];
        if (Array.isArray(message) && batches.push(message) === 2) {
          resolve(batches);
        }
      });
      other.send(JSON.stringify(batch));
      other.send(JSON.stringify(batch));
    });
    assert.ok(first?.every(({ result }) => typeof result === "string"));
    assert.equal(second?.filter(({ error }) => error?.code === -32006).length, 2000 - 1024);
    other.terminate();
  });

  it("answers HTTP on the same port, but for subscriptions", async () => {
    const url = net.endpoint.replace("ws:", "http:");
    const post = async (method: string) => {
      const response = await fetch(url, { method: "POST", body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: [] }) });
      return (await response.json()) as Answer;
    };
    assert.equal((await post("system_name")).result, "Connito localnet");
    assert.equal((await post("chain_subscribeNewHeads")).error?.code, -32601);
    assert.equal((await fetch(url)).status, 405);
  });

  it("cuts off a message beyond 15 MiB", async () => {
    const other = new WebSocket(net.endpoint);
    await once(other, "open");
    other.on("error", () => undefined);
    other.send("x".repeat((15 << 20) + 1));
    const [code] = (await once(other, "close")) as [number];
    assert.equal(code, 1009);
    const url = net.endpoint.replace("ws:", "http:");
    const tooLong = await fetch(url, { method: "POST", body: "x".repeat((15 << 20) + 1) }).then(
      ({ status }) => status,
      () => 413,
    );
    assert.equal(tooLong, 413);
  });

  it("refuses a port in use, and options out of range", async () => {
    await assert.rejects(startLocalnet({ port: net.port, blockTime: 100 }), { code: "port-in-use" });
    await assert.rejects(startLocalnet({ port: 0, blockTime: 49 }), { code: "localnet-option-invalid" });
    await assert.rejects(startLocalnet({ port: 0, blockTime: 100, finalityLag: 0 }), { code: "localnet-option-invalid" });
  });
});
