/** A link as polkadot.js wants to see it, so that its ApiPromise runs on the link's one connection. */
import type { ApiOptions } from "@polkadot/api/types";
import type { Link } from "./link.ts";

type Provider = NonNullable<ApiOptions["provider"]>;

export function providerOf(link: Link): Provider {
  const ends = new Map<number, () => void>();
  let nextId = 1;
  return {
    hasSubscriptions: true,
    isClonable: false,
    get isConnected() {
      return link.endpoint() !== undefined;
    },
    clone() {
      throw new Error("a link is not clonable");
    },
    connect: async () => {
      await link.connected();
    },
    disconnect: async () => link.close(),
    on(type, listener) {
      if (type === "error") return () => {};
      return link.onChange((connected) => connected === (type === "connected") && listener());
    },
    // never cached: a pinned block's values are cached where they are decoded, and a failure must not be kept
    send: (method, params) => link.call(method, params),
    async subscribe(type, method, params, listener) {
      const unsubscribe = `${type.split("_")[0]}_un${method.split("_")[1]}`;
      const end = await link.subscribe({ method, unsubscribe, params, listener: (error, result) => listener(error ?? null, result) });
      const id = nextId++;
      ends.set(id, end);
      return id;
    },
    async unsubscribe(_type, _method, id) {
      ends.get(Number(id))?.();
      return ends.delete(Number(id));
    },
  };
}
