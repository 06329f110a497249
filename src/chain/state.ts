/**
 * The chain's state at one block, decoded by the metadata of the runtime that made the block. A read is one round trip, waits out a lost connection,
 * and never falls back to another block.
 */
import { atBlock, blockUnknown } from "./chain-errors.ts";
import type { Link } from "./link.ts";
import type { Codecs } from "./metadata.ts";
import { createRecent } from "./recent.ts";
import type { Runtimes } from "./runtime.ts";

/** A storage value: pallet and item as the chain's metadata writes them (`SubtensorModule`, `LastUpdate`), then its keys. */
export type StorageName = readonly [pallet: string, item: string, ...keys: unknown[]];

export interface State {
  /** The block's hash. */
  readonly hash: string;
  /** The block's number. */
  readonly number: number;
  readonly codecs: Codecs;
  /**
   * The values in the order asked for, in one round trip: the chain's default where nothing is stored, undefined where there is no default. What
   * they are is for the caller to say; metadata.ts tells how values look.
   */
  values<T extends readonly unknown[]>(...names: { readonly [K in keyof T]: StorageName }): Promise<T>;
  /** Every entry of a map under its leading keys, as the keys that its hashers let one read back and the value. */
  entries<T>(pallet: string, item: string, ...keys: unknown[]): Promise<{ readonly keys: readonly unknown[]; readonly value: T }[]>;
  /** Calls a runtime API (`NeuronInfoRuntimeApi`, `get_neurons_lite`), in one round trip. */
  call<T>(api: string, method: string, ...parameters: unknown[]): Promise<T>;
}

/** Keys that a node gives a page, and values asked for at once. */
const pageSize = 512;

interface Header {
  readonly number: string;
  readonly parentHash: string;
}

/** Gives the state at a block hash; the last blocks asked for are kept. Throws `block-unknown`, `state-pruned`. */
export type StateAt = (hash: string) => Promise<State>;

export function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.slice(2), "hex"));
}

export function hexOf(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).toString("hex")}`;
}

export function createStates(link: Link, runtimes: Runtimes): StateAt {
  const recent = createRecent<string, Promise<State>>(64);

  async function open(hash: string): Promise<State> {
    let name = hash;
    const asked = async <T>(method: string, parameters: readonly unknown[]): Promise<T> => {
      try {
        return await link.call<T>(method, parameters);
      } catch (error) {
        throw atBlock(error, name);
      }
    };
    const header = await asked<Header | null>("chain_getHeader", [hash]);
    if (header === null) throw blockUnknown(hash);
    const number = Number(header.number);
    name = `${number} (${hash})`;
    // a block is made by the runtime that its parent's state holds
    const { codecs } = await runtimes.heldBy(number === 0 ? hash : header.parentHash).catch((error) => {
      throw atBlock(error, name);
    });

    async function raw(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
      const values = new Map<string, string | null>();
      for (let start = 0; start < keys.length; start += pageSize) {
        const sets = await asked<{ changes: [string, string | null][] }[]>("state_queryStorageAt", [
          keys.slice(start, start + pageSize),
          hash,
        ]);
        for (const [key, value] of sets[0]?.changes ?? []) values.set(key, value);
      }
      return keys.map((key) => {
        const value = values.get(key) ?? undefined;
        return value === undefined ? undefined : bytesOf(value);
      });
    }

    return {
      hash,
      number,
      codecs,
      async values<T extends readonly unknown[]>(...names: { readonly [K in keyof T]: StorageName }): Promise<T> {
        const items = names.map(([pallet, item, ...keys]) => ({ codec: codecs.storage(pallet, item), keys }));
        const stored = await raw(items.map(({ codec, keys }) => codec.key(...keys)));
        return items.map(({ codec }, index) => codec.decode(stored[index])) as readonly unknown[] as T;
      },
      async entries<T>(pallet: string, item: string, ...leading: unknown[]) {
        const codec = codecs.storage(pallet, item);
        const prefix = codec.key(...leading);
        const found: string[] = [];
        for (;;) {
          const page = await asked<string[]>("state_getKeysPaged", [prefix, pageSize, found.at(-1) ?? prefix, hash]);
          found.push(...page);
          if (page.length < pageSize) break;
        }
        const values = await raw(found);
        return found.flatMap((key, index) => {
          const value = values[index];
          return value === undefined ? [] : [{ keys: codec.keysOf(key), value: codec.decode(value) as T }];
        });
      },
      async call<T>(api: string, method: string, ...parameters: unknown[]) {
        const { name, encode, decode } = codecs.runtimeApi(api, method);
        return decode(bytesOf(await asked<string>("state_call", [name, hexOf(encode(...parameters)), hash]))) as T;
      },
    };
  }

  return (hash) => recent.get(hash, () => open(hash));
}
