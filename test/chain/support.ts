/** A localnet with fast blocks, clients of it, and a proxy before it that loses messages and connections on command. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { WebSocket, WebSocketServer } from "ws";
import { type Chain, type ConnectOptions, connectChain } from "../../src/chain/client.ts";
import { type Genesis, type Localnet, type LocalnetOptions, startLocalnet } from "../../src/chain/localnet/index.ts";
import { developmentSigner, type Signer } from "../../src/chain/signer.ts";

/** A metadata that every localnet of this room's tests is to serve: set by `npm run conformance`. */
const givenMetadata = process.env["CONNITO_TEST_METADATA"];

export const netuid = 1;
const tao = 1_000_000_000n;

export interface People {
  readonly owner: Signer;
  /** Registered, with stake and a permit, uid 0. */
  readonly validator: Signer;
  /** Registered, uids 1 and 2. */
  readonly miners: readonly [Signer, Signer];
  readonly stranger: Signer;
}

export async function people(): Promise<People> {
  const [owner, validator, first, second, stranger] = await Promise.all(
    ["//Alice", "//Bob", "//Miner//1", "//Miner//2", "//Stranger"].map((uri) => developmentSigner(uri)),
  );
  return {
    owner: owner as Signer,
    validator: validator as Signer,
    miners: [first as Signer, second as Signer],
    stranger: stranger as Signer,
  };
}

export function genesisOf(
  { owner, validator, miners }: People,
  hyperparameters: NonNullable<Genesis["subnets"]>[number]["hyperparameters"] = {},
): Genesis {
  return {
    subnets: [{ netuid, ownerHotkey: owner.address, hyperparameters }],
    neurons: [{ netuid, hotkey: validator.address, stake: 1000n * tao }, ...miners.map(({ address }) => ({ netuid, hotkey: address }))],
  };
}

/** What a test opened, closed in reverse order whatever happened. */
export function createOpened(): {
  localnet(options?: Partial<LocalnetOptions>): Promise<Localnet>;
  chain(endpoints: string | readonly string[], options?: Partial<ConnectOptions>): Promise<Chain>;
  proxy(target: string): Promise<LossyProxy>;
  close(): Promise<void>;
} {
  const closers: (() => unknown)[] = [];
  return {
    async localnet(options = {}) {
      const net = await startLocalnet({
        port: 0,
        blockTime: 100,
        finalityLag: 2,
        genesis: genesisOf(await people()),
        ...(givenMetadata === undefined ? {} : { metadata: readFileSync(givenMetadata) }),
        ...options,
      });
      closers.push(() => net.stop());
      return net;
    },
    async chain(endpoints, options = {}) {
      const chain = await connectChain({ endpoints: typeof endpoints === "string" ? [endpoints] : endpoints, ...options });
      closers.push(() => chain.disconnect());
      return chain;
    },
    async proxy(target) {
      const proxy = await startProxy(target);
      closers.push(() => proxy.close());
      return proxy;
    },
    async close() {
      while (closers.length > 0) await closers.pop()?.();
    },
  };
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: readonly unknown[];
}

export interface LossyProxy {
  readonly endpoint: string;
  /** Requests so far. */
  readonly asked: Message[];
  /** Asked for each request: false swallows it. May cut. */
  onRequest: (message: Message) => boolean;
  /** Answers a request in the node's place; undefined lets it pass. */
  answerFor: (message: Message) => object | undefined;
  /** Asked for each answer, with the method it answers: false swallows it. May cut. */
  onAnswer: (method: string) => boolean;
  /** Breaks every connection without a goodbye. */
  cut(): void;
  close(): Promise<void>;
}

export async function startProxy(target: string): Promise<LossyProxy> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const open = new Set<WebSocket>();
  const proxy: LossyProxy = {
    endpoint: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    onRequest: () => true,
    answerFor: () => undefined,
    onAnswer: () => true,
    cut: () => {
      for (const socket of open) socket.terminate();
    },
    close: async () => {
      proxy.cut();
      server.close();
      await once(server, "close");
    },
  };
  server.on("connection", (near) => {
    const far = new WebSocket(target);
    const methods = new Map<number, string>();
    const early: string[] = [];
    open.add(near).add(far);
    near.on("message", (data) => {
      const text = String(data);
      const message = JSON.parse(text) as Message;
      if (message.id !== undefined && message.method !== undefined) {
        methods.set(message.id, message.method);
        proxy.asked.push(message);
      }
      if (!proxy.onRequest(message)) return;
      const answer = proxy.answerFor(message);
      if (answer !== undefined) return near.send(JSON.stringify({ jsonrpc: "2.0", id: message.id, ...answer }));
      if (far.readyState === WebSocket.OPEN) far.send(text);
      else early.push(text);
    });
    far.on("open", () => {
      for (const text of early) far.send(text);
    });
    far.on("message", (data) => {
      const text = String(data);
      const { id } = JSON.parse(text) as Message;
      const method = id === undefined ? undefined : methods.get(id);
      if (method === undefined || proxy.onAnswer(method)) near.send(text);
    });
    for (const socket of [near, far]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        open.delete(socket);
        near.terminate();
        far.terminate();
      });
    }
  });
  return proxy;
}

/** Waits for a finalised head that satisfies the condition. */
export async function finalizedWhere(chain: Chain, condition: (number: number) => boolean): Promise<{ number: number; hash: string }> {
  for await (const head of chain.followFinalized(AbortSignal.timeout(20_000))) {
    if (condition(head.number)) return head;
  }
  throw new Error("the chain did not get there in time");
}

/** Brings the chain to a finalised block with this number or a later one, at once. */
export async function passTo(net: Localnet, chain: Chain, number: number): Promise<void> {
  const blocks = number - net.finalized().number;
  if (blocks > 0) net.inject({ kind: "burst", blocks });
  await finalizedWhere(chain, (finalized) => finalized >= number);
}

/** Does something while no block is made, until it is done or its transaction waits in the pool: no window passes meanwhile, however busy the machine is. */
export async function inStillness<T>(net: Localnet, act: () => Promise<T>): Promise<T> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "author_pendingExtrinsics", params: [] });
  const asked = { method: "POST", headers: { "content-type": "application/json" }, body };
  net.inject({ kind: "stall-blocks", seconds: 60 });
  try {
    let over = false;
    const acting = act().finally(() => {
      over = true;
    });
    acting.catch(() => {});
    for (let waiting = 0; !over && waiting === 0; await pause(10)) {
      const answer = (await (await fetch(`http://127.0.0.1:${net.port}`, asked)).json()) as { result: unknown[] };
      waiting = answer.result.length;
    }
    net.inject({ kind: "heal" });
    return await acting;
  } finally {
    net.inject({ kind: "heal" });
  }
}
