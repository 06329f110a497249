/** chain_*: blocks, headers and the heads as they move. */

import { type Block, headerJson } from "../blocks.ts";
import type { ChainListener, Localchain } from "../chain.ts";
import type { Methods } from "./connection.ts";
import { hexParameter, refuse } from "./parameters.ts";

function numberOf(value: unknown): number {
  const number = typeof value === "string" && /^0x[0-9a-fA-F]{1,8}$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) && number >= 0 ? number : refuse("a block number is a whole number");
}

export function chainMethods(chain: Localchain): Methods {
  const hashAt = (value: unknown): string | null => {
    if (value === undefined || value === null) {
      return chain.best().hash;
    }
    return chain.hashAt(numberOf(value)) ?? null;
  };
  const blockOf = (value: unknown): Block | undefined =>
    value === undefined || value === null ? chain.best() : chain.blockOf(hexParameter(value, "block hash", 32));

  const heads =
    (notification: string, which: "best" | "finalized", event: keyof ChainListener = which): Methods[string] =>
    (_, connection) =>
      connection.subscribe(notification, (send) => {
        send(headerJson(chain[which]().header));
        return chain.listen({ [event]: (block: Block) => send(headerJson(block.header)) });
      });
  const unsubscribe: Methods[string] = ([id], connection) => connection.unsubscribe(String(id));

  const newHeads = heads("chain_newHead", "best");
  const finalizedHeads = heads("chain_finalizedHead", "finalized");
  const getBlockHash: Methods[string] = ([value]) => (Array.isArray(value) ? value.slice(0, 1000).map(hashAt) : hashAt(value));
  const getFinalizedHead: Methods[string] = () => chain.finalized().hash;

  // Each under all the names that Substrate gives it: clients use different ones.
  return {
    chain_getBlockHash: getBlockHash,
    chain_getHead: getBlockHash,
    chain_getHeader: ([hash]) => {
      const header = hash === undefined || hash === null ? chain.best().header : chain.headerOf(hexParameter(hash, "block hash", 32));
      return header === undefined ? null : headerJson(header);
    },
    chain_getBlock: ([hash]) => {
      const block = blockOf(hash);
      return block === undefined
        ? null
        : { block: { header: headerJson(block.header), extrinsics: block.extrinsics }, justifications: null };
    },
    chain_getFinalizedHead: getFinalizedHead,
    chain_getFinalisedHead: getFinalizedHead,
    subscribe_newHead: newHeads,
    unsubscribe_newHead: unsubscribe,
    chain_subscribeNewHead: newHeads,
    chain_unsubscribeNewHead: unsubscribe,
    chain_subscribeNewHeads: newHeads,
    chain_unsubscribeNewHeads: unsubscribe,
    chain_subscribeAllHeads: heads("chain_allHead", "best", "imported"),
    chain_unsubscribeAllHeads: unsubscribe,
    chain_subscribeFinalizedHeads: finalizedHeads,
    chain_unsubscribeFinalizedHeads: unsubscribe,
    chain_subscribeFinalisedHeads: finalizedHeads,
    chain_unsubscribeFinalisedHeads: unsubscribe,
  };
}
