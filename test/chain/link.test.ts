import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { createLink, type Link, type LinkOptions } from "../../src/chain/link.ts";

type Send = (message: unknown) => void;
type Behaviour = (request: { id: number; method: string; params: unknown[] }, send: Send, socket: WebSocket) => void;

/** A node that answers with its genesis, and otherwise as the test says. */
async function startNode(behaviour: Behaviour, genesis = "0xaa"): Promise<{ endpoint: string; connections: WebSocket[]; close(): void }> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const connections: WebSocket[] = [];
  server.on("connection", (socket) => {
    connections.push(socket);
    const send: Send = (message) =>
      socket.send(typeof message === "string" ? message : JSON.stringify({ jsonrpc: "2.0", ...(message as object) }));
    socket.on("message", (data) => {
      const request = JSON.parse(String(data));
      if (request.method === "chain_getBlockHash") send({ id: request.id, result: genesis });
      else behaviour(request, send, socket);
    });
  });
  return {
    endpoint: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections,
    close: () => {
      for (const socket of connections) socket.terminate();
      server.close();
    },
  };
}

describe("chain/link", () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    while (closers.length > 0) closers.pop()?.();
  });

  async function node(behaviour: Behaviour, genesis?: string): ReturnType<typeof startNode> {
    const started = await startNode(behaviour, genesis);
    closers.push(started.close);
    return started;
  }
  function link(endpoints: string[], options: Partial<LinkOptions> = {}): Link {
    const made = createLink({ endpoints, patience: 5000, ...options });
    closers.push(made.close);
    return made;
  }

  it("asks again at the next endpoint when one breaks off", async () => {
    const breaking = await node((_request, _send, socket) => socket.terminate());
    const steady = await node(({ id }, send) => send({ id, result: 7 }));
    const made = link([breaking.endpoint, steady.endpoint]);
    assert.equal(await made.call("anything", []), 7);
    assert.equal(made.endpoint(), steady.endpoint);
  });

  it("leaves a node that does not answer, and one that speaks something else, without falling over", async () => {
    const silent = await node(() => {});
    const babbling = await node((_request, send) => send("<html>"));
    const nothing = await node((_request, send) => send("null"));
    const steady = await node(({ id }, send) => send({ id, result: "ok" }));
    const made = link([silent.endpoint, babbling.endpoint, nothing.endpoint, steady.endpoint], { requestTimeout: 100 });
    assert.equal(await made.call("anything", []), "ok");
  });

  it("is patient with a node that asks for patience, and not with one that says no", async () => {
    let asked = 0;
    const throttling = await node(({ id }, send) => {
      asked += 1;
      if (asked < 3) send({ id, error: { code: 429, message: "Too Many Requests" } });
      else send({ id, result: asked });
    });
    const made = link([throttling.endpoint]);
    assert.equal(await made.call("anything", []), 3);
    const refusing = await node(({ id }, send) => send({ id, error: { code: -32601, message: "Method not found", data: { detail: 1 } } }));
    await assert.rejects(link([refusing.endpoint]).call("nothing", []), {
      name: "RpcFailure",
      code: -32601,
      message: /Method not found: {"detail":1}/,
    });
  });

  it("makes subscriptions again, takes notifications that come early, and forgets ended ones", async () => {
    let id = 0;
    const ended: unknown[] = [];
    const feeding = await node((request, send) => {
      if (request.method === "end") ended.push(request.params[0]);
      const subscription = `s${++id}`;
      // the notification first, as some nodes do
      if (request.method === "begin") send({ method: "news", params: { subscription, result: subscription } });
      send({ id: request.id, result: subscription });
    });
    const made = link([feeding.endpoint]);
    const heard: unknown[] = [];
    let wake: () => void = () => {};
    const listener = (_error: unknown, result: unknown): void => {
      heard.push(result);
      wake();
    };
    const end = await made.subscribe({ method: "begin", unsubscribe: "end", params: [], listener });
    assert.deepEqual(heard, ["s1"]);
    const again = new Promise<void>((resolve) => {
      wake = resolve;
    });
    feeding.connections[0]?.terminate();
    await again;
    assert.deepEqual(heard, ["s1", "s2"]);
    end();
    await made.call("anything", []);
    assert.deepEqual(ended, ["s2"]);
    feeding.connections[1]?.terminate();
    await made.call("anything", []);
    assert.equal(feeding.connections.length, 3);
    assert.deepEqual(heard, ["s1", "s2"]);
  });

  it("tells a subscription that must not be made again that its connection is gone", async () => {
    const feeding = await node(({ id }, send) => send({ id, result: "only" }));
    const made = link([feeding.endpoint]);
    const told = new Promise<Error | undefined>((resolve) => {
      made.subscribeOnce({ method: "begin", unsubscribe: "end", params: [], listener: (error) => resolve(error) });
    });
    await made.call("anything", []);
    feeding.connections[0]?.terminate();
    assert.equal((await told)?.name, "ConnectionLost");
  });

  it("does not ask twice what must not be asked twice", async () => {
    let asked = 0;
    const breaking = await node((_request, _send, socket) => {
      asked += 1;
      socket.terminate();
    });
    await assert.rejects(link([breaking.endpoint]).callOnce("send", []), { name: "ConnectionLost" });
    assert.equal(asked, 1);
  });

  it("gives up a connection on which nothing is heard", async () => {
    const feeding = await node(({ id }, send) => send({ id, result: 1 }));
    const made = link([feeding.endpoint], { heartbeat: 100 });
    await made.call("anything", []);
    const first = feeding.connections[0] as WebSocket;
    // a node whose socket stays open but which answers neither requests nor pings
    (first as unknown as { _socket: { pause(): void } })._socket.pause();
    const lost = new Promise<void>((resolve) => {
      made.onChange((connected) => !connected && resolve());
    });
    await lost;
    assert.equal(await made.call("anything", []), 1);
    assert.equal(feeding.connections.length, 2);
  });

  it("believes no endpoint of another chain", async () => {
    const ours = await node(({ id }, send) => send({ id, result: "ours" }), "0xaa");
    const theirs = await node(({ id }, send) => send({ id, result: "theirs" }), "0xbb");
    const made = link([ours.endpoint, theirs.endpoint], { patience: 500 });
    assert.equal(await made.call("anything", []), "ours");
    ours.close();
    await assert.rejects(made.call("anything", []), (error: { code?: string }) =>
      ["chain-changed", "chain-unreachable"].includes(error.code ?? ""),
    );
  });

  it("fails what waits when it is closed", async () => {
    const made = link(["ws://127.0.0.1:1"]);
    const waiting = made.call("anything", []);
    made.close();
    await assert.rejects(waiting, { code: "chain-disconnected", retryable: false });
    await assert.rejects(made.call("anything", []), { code: "chain-disconnected" });
  });
});
