/**
 * A link as polkadot.js wants to see it, so that its ApiPromise runs on the link's one connection.
 *
 * It says that it has no subscriptions: then ApiPromise is what we want of it, a decoder and encoder by metadata, and does not on its own follow the
 * runtime's version (which it would report on stdout), keep the process alive with timers, or ping. Subscriptions are made on the link itself.
 */
import type { ApiOptions } from "@polkadot/api/types";
import type { Link } from "./link.ts";

export function providerOf(link: Link): NonNullable<ApiOptions["provider"]> {
  const none = async (): Promise<never> => {
    throw new Error("subscriptions are made on the link");
  };
  return {
    hasSubscriptions: false,
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
    on: () => () => {},
    // never cached: a pinned block's values are cached where they are decoded, and a failure must not be kept
    send: (method, params) => link.call(method, params),
    subscribe: none,
    unsubscribe: none,
  };
}
