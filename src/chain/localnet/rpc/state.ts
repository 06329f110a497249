/** state_*: storage at any block, its changes, metadata, the runtime's version and its APIs. */

import { u8aToHex } from "@polkadot/util";
import type { Localchain } from "../chain.ts";
import type { Hex } from "../metadata/scale.ts";
import { RpcError } from "../pool.ts";
import { blake2Hex } from "../runtime/hashing.ts";
import { version } from "../runtime/version.ts";
import type { Connection, Methods } from "./connection.ts";
import { blockParameter, hexParameter, keysParameter, refuse } from "./parameters.ts";

const mostKeysAtOnce = 1000;
const executionFailed = 4003;

export const runtimeVersionJson = {
  specName: version.specName,
  implName: version.implName,
  authoringVersion: version.authoringVersion,
  specVersion: version.specVersion,
  implVersion: version.implVersion,
  apis: version.apis,
  transactionVersion: version.transactionVersion,
  systemVersion: version.systemVersion,
  stateVersion: version.systemVersion,
};

/** Answers a runtime API call on the state after a block. */
export function callRuntimeApi(chain: Localchain, name: unknown, data: Hex, at: unknown): Hex {
  const { block } = blockParameter(chain, at);
  const text = String(name);
  const separator = text.indexOf("_");
  const api = chain.runtime.apis[text.slice(0, separator)];
  const method = api?.methods[text.slice(separator + 1)];
  if (method === undefined) {
    throw new RpcError(executionFailed, `Client error: Execution failed: Exported method ${text.slice(0, 100)} is not found`);
  }
  const ledger = chain.ledgerAt(block);
  const { codec } = ledger;
  let rest = data;
  const args: Record<string, unknown> = {};
  try {
    for (const [field, scale] of Object.entries(method.fields)) {
      const { value, length } = codec.decodeWithLength(scale, rest);
      args[field] = value;
      rest = `0x${rest.slice(2 + 2 * length)}`;
    }
  } catch {
    return refuse(`the arguments of ${text} cannot be decoded`);
  }
  return u8aToHex(codec.encode(method.output, method.answer(ledger, args as never)));
}

function storageMethods(chain: Localchain): Methods {
  const read = (key: unknown, at: unknown): Hex | undefined => blockParameter(chain, at).state.read(hexParameter(key, "key", 1024));
  const changesAt = (keys: readonly Hex[], at: unknown) => {
    const { block, state } = blockParameter(chain, at);
    return { block: block.hash, changes: keys.map((key) => [key, state.read(key) ?? null]) };
  };
  const page = ([prefix, count, after, at]: readonly unknown[]): Hex[] => {
    if (!Number.isInteger(count) || (count as number) < 0 || (count as number) > mostKeysAtOnce) {
      refuse(`count is a whole number of at most ${mostKeysAtOnce}`);
    }
    const from = after === undefined || after === null ? undefined : hexParameter(after, "start key", 1024);
    return blockParameter(chain, at).state.page(hexParameter(prefix ?? "0x", "prefix", 1024), count as number, from);
  };
  const storage: Methods[string] = ([key, at]) => read(key, at) ?? null;
  const hash: Methods[string] = ([key, at]) => {
    const value = read(key, at);
    return value === undefined ? null : blake2Hex(value);
  };
  const size: Methods[string] = ([key, at]) => {
    const value = read(key, at);
    return value === undefined ? null : (value.length - 2) / 2;
  };
  return {
    state_getStorage: storage,
    state_getStorageAt: storage,
    state_getStorageHash: hash,
    state_getStorageHashAt: hash,
    state_getStorageSize: size,
    state_getStorageSizeAt: size,
    state_getKeysPaged: page,
    state_getKeysPagedAt: page,
    state_getKeys: ([prefix, at]) => page([prefix, mostKeysAtOnce, undefined, at]),
    state_queryStorageAt: ([keys, at]) => [changesAt(keysParameter(keys), at)],
  };
}

function subscribeStorage(chain: Localchain, keys: readonly Hex[], connection: Connection): string {
  return connection.subscribe("state_storage", (send) => {
    const told = new Map<Hex, Hex | null>();
    const tell = ({ block, state }: ReturnType<typeof blockParameter>): void => {
      const changes = keys.map((key) => [key, state.read(key) ?? null] as const).filter(([key, value]) => told.get(key) !== value);
      if (changes.length > 0) {
        send({ block: block.hash, changes });
      }
      for (const [key, value] of changes) {
        told.set(key, value);
      }
    };
    tell(blockParameter(chain, undefined));
    return chain.listen({ best: (block) => tell(blockParameter(chain, block.hash)) });
  });
}

export function stateMethods(chain: Localchain): Methods {
  const unsubscribe: Methods[string] = ([id], connection) => connection.unsubscribe(String(id));
  const runtimeVersion: Methods[string] = ([at]) => {
    blockParameter(chain, at);
    return runtimeVersionJson;
  };
  const subscribeRuntimeVersion: Methods[string] = (_, connection) =>
    connection.subscribe("state_runtimeVersion", (send) => {
      send(runtimeVersionJson);
      return () => undefined;
    });
  const call: Methods[string] = ([name, data, at]) => callRuntimeApi(chain, name, hexParameter(data ?? "0x", "data", 5 << 20), at);
  return {
    ...storageMethods(chain),
    state_getMetadata: ([at]) => {
      blockParameter(chain, at);
      return chain.runtime.metadata.legacy;
    },
    state_getRuntimeVersion: runtimeVersion,
    chain_getRuntimeVersion: runtimeVersion,
    state_call: call,
    state_callAt: call,
    state_subscribeRuntimeVersion: subscribeRuntimeVersion,
    state_unsubscribeRuntimeVersion: unsubscribe,
    chain_subscribeRuntimeVersion: subscribeRuntimeVersion,
    chain_unsubscribeRuntimeVersion: unsubscribe,
    state_subscribeStorage: ([keys], connection) => subscribeStorage(chain, keysParameter(keys ?? []), connection),
    state_unsubscribeStorage: unsubscribe,
  };
}
