/**
 * The chain's state at one block, decoded by the metadata that was in force there, and by nothing else: no index, hasher or type is written down
 * here. polkadot.js decodes; the requests are our own, so that a read is one round trip, waits out a lost connection, and never falls back to
 * another block.
 */
import type { ApiPromise } from "@polkadot/api";
import type { Codec, Registry } from "@polkadot/types/types";
import { atBlock, blockUnknown, chainUnsupported } from "./chain-errors.ts";
import type { Link } from "./link.ts";
import { createRecent } from "./recent.ts";
import type { Runtime } from "./runtime.ts";

/** A storage value: pallet and item as polkadot.js writes them (`subtensorModule`, `lastUpdate`), then its keys. */
export type StorageName = readonly [pallet: string, item: string, ...keys: unknown[]];

export interface State {
  /** The block's hash. */
  readonly hash: string;
  /** The block's number. */
  readonly number: number;
  readonly registry: Registry;
  /** The values in the order asked for, in one round trip: the chain's default where nothing is stored, undefined where there is no default. */
  values(...names: StorageName[]): Promise<(Codec | undefined)[]>;
  /** Every entry of a map under its leading keys, as the keys that its hashers let one read back and the value. */
  entries(pallet: string, item: string, ...keys: unknown[]): Promise<{ readonly keys: readonly Codec[]; readonly value: Codec }[]>;
  /** Calls a runtime API, both names as polkadot.js writes them (`neuronInfoRuntimeApi`, `getNeuronsLite`). */
  call(api: string, method: string, ...parameters: unknown[]): Promise<Codec>;
}

/** Keys that a node gives a page, and values asked for at once. */
const pageSize = 512;

interface Header {
  readonly number: string;
  readonly parentHash: string;
}

/** What polkadot.js keeps beside each decorated runtime API, though its types do not say so. */
interface RuntimeMethod {
  readonly name: string;
  readonly params: readonly { readonly type: string }[];
  readonly type: string;
}

type Decoration = Pick<ApiPromise, "query" | "call" | "registry">;
type Entry = ApiPromise["query"][string][string];

/** Gives the state at a block hash; the last blocks asked for are kept. Throws `block-unknown`, `state-pruned`. */
export type StateAt = (hash: string) => Promise<State>;

function entryOf({ query }: Decoration, pallet: string, item: string): Entry {
  const entry = query[pallet]?.[item];
  if (entry === undefined) throw chainUnsupported(`the storage ${pallet}.${item}`);
  return entry;
}

function decode({ registry }: Decoration, { creator: { meta } }: Entry, bytes: string | null): Codec | undefined {
  if (bytes === null && meta.modifier.isOptional) return undefined;
  const type = registry.createLookupType(meta.type.isPlain ? meta.type.asPlain : meta.type.asMap.value);
  return registry.createTypeUnsafe(type, [bytes === null ? meta.fallback.toU8a(true) : Buffer.from(bytes.slice(2), "hex")]);
}

export function createStates(link: Link, runtime: Runtime): StateAt {
  const recent = createRecent<string, Promise<State>>(64);

  /** The decoration for a block: the runtime that executed it is its parent's. */
  async function decorationAt(hash: string, header: Header): Promise<Decoration> {
    const executedBy = Number(header.number) === 0 ? hash : header.parentHash;
    const version = await link.call<{ specVersion: number }>("state_getRuntimeVersion", [executedBy]);
    const api = runtime.api();
    return version.specVersion === api.runtimeVersion.specVersion.toNumber() ? api : await api.at(hash);
  }

  async function open(hash: string): Promise<State> {
    const asked = async <T>(method: string, parameters: readonly unknown[]): Promise<T> => {
      try {
        return await link.call<T>(method, parameters);
      } catch (error) {
        throw atBlock(error, hash);
      }
    };
    const header = await asked<Header | null>("chain_getHeader", [hash]);
    if (header === null) throw blockUnknown(hash);
    const decoration = await decorationAt(hash, header).catch((error) => {
      throw atBlock(error, hash);
    });
    const { registry } = decoration;

    async function raw(keys: readonly string[]): Promise<(string | null)[]> {
      const values = new Map<string, string | null>();
      for (let start = 0; start < keys.length; start += pageSize) {
        const sets = await asked<{ changes: [string, string | null][] }[]>("state_queryStorageAt", [
          keys.slice(start, start + pageSize),
          hash,
        ]);
        for (const [key, value] of sets[0]?.changes ?? []) values.set(key, value);
      }
      return keys.map((key) => values.get(key) ?? null);
    }

    return {
      hash,
      number: Number(header.number),
      registry,
      async values(...names) {
        const entries = names.map(([pallet, item]) => entryOf(decoration, pallet, item));
        const keys = names.map(([, , ...parameters], index) => (entries[index] as Entry).key(...parameters));
        return (await raw(keys)).map((bytes, index) => decode(decoration, entries[index] as Entry, bytes));
      },
      async entries(pallet, item, ...leading) {
        const entry = entryOf(decoration, pallet, item);
        const prefix = entry.keyPrefix(...leading);
        const found: string[] = [];
        for (;;) {
          const page = await asked<string[]>("state_getKeysPaged", [prefix, pageSize, found.at(-1) ?? prefix, hash]);
          found.push(...page);
          if (page.length < pageSize) break;
        }
        const values = await raw(found);
        return found.flatMap((key, index) => {
          const value = decode(decoration, entry, values[index] ?? null);
          if (value === undefined) return [];
          const storageKey = registry.createType("StorageKey", key);
          storageKey.setMeta(entry.creator.meta);
          return [{ keys: storageKey.args, value }];
        });
      },
      async call(apiName, method, ...parameters) {
        const meta = (decoration.call[apiName]?.[method] as { meta?: RuntimeMethod } | undefined)?.meta;
        if (meta === undefined) throw chainUnsupported(`the runtime API ${apiName}.${method}`);
        const encoded = parameters.map((value, index) => registry.createTypeUnsafe(meta.params[index]?.type ?? "Null", [value]).toU8a());
        const bytes = await asked<string>("state_call", [meta.name, `0x${Buffer.concat(encoded).toString("hex")}`, hash]);
        return registry.createTypeUnsafe(meta.type, [Buffer.from(bytes.slice(2), "hex")]);
      },
    };
  }

  return (hash) => recent.get(hash, () => open(hash));
}
