/**
 * Typed access to the state for pallets: reads fall through to the parent block's state, writes stay in layers of changes,
 * so that a refused call undoes what it wrote and a block is one set of changes.
 */

import { u8aConcat } from "@polkadot/util";
import { blake2AsU8a, xxhashAsU8a } from "@polkadot/util-crypto";
import type { ErrorDefinition, EventDefinition, HashedKey, Hasher, StorageItem } from "../metadata/declarations.ts";
import type { Hex, Scale, Tagged } from "../metadata/scale.ts";
import type { Codec } from "./codec.ts";
import { toHex } from "./scale-bytes.ts";

/** undefined removes the key. */
export type Changes = Map<Hex, Hex | undefined>;

/** What a call throws to be refused: it becomes System.ExtrinsicFailed. */
export class DispatchError extends Error {
  override readonly name = "DispatchError";
  readonly reason: ErrorDefinition | Tagged;

  constructor(reason: ErrorDefinition | Tagged) {
    super("name" in reason ? `${reason.pallet}.${reason.name}` : reason.type);
    this.reason = reason;
  }
}

/** Throws the module error unless the condition holds. */
export function ensure(condition: boolean, error: ErrorDefinition): asserts condition {
  if (!condition) {
    throw new DispatchError(error);
  }
}

/** When in a block something happens: a Tagged of the chain's Phase type. */
export type BlockPhase = Tagged<"ApplyExtrinsic" | "Finalization" | "Initialization", number>;

export interface DepositedEvent {
  readonly phase: BlockPhase;
  readonly definition: EventDefinition<never>;
  readonly content: unknown;
}

export interface Ledger {
  readonly codec: Codec;
  /** Number of the block being built; when answering a question, of the block asked about. */
  readonly block: number;
  get<K extends readonly unknown[], V>(item: StorageItem<K, V>, ...keys: K): V;
  has<K extends readonly unknown[], V>(item: StorageItem<K, V>, ...keys: K): boolean;
  set<K extends readonly unknown[], V>(item: StorageItem<K, V>, keys: K, value: Exclude<V, undefined>): void;
  remove<K extends readonly unknown[], V>(item: StorageItem<K, V>, ...keys: K): void;
  /** All entries under the first keys given: the remaining plain keys, and the value. */
  entries<K extends readonly unknown[], V>(item: StorageItem<K, V>, ...first: readonly unknown[]): [unknown[], Exclude<V, undefined>][];
  setRaw(key: Hex, value: Hex | undefined): void;
  deposit<V>(definition: EventDefinition<V>, content: V): void;
  /** Runs work whose writes and events are kept only if it returns. */
  transaction<T>(work: () => T): T;
}

const hashers: Readonly<Record<Hasher, { hash: (bytes: Uint8Array) => Uint8Array; prefix: number }>> = {
  Identity: { hash: (bytes) => bytes, prefix: 0 },
  Twox64Concat: { hash: (bytes) => u8aConcat(xxhashAsU8a(bytes, 64), bytes), prefix: 8 },
  Blake2_128Concat: { hash: (bytes) => u8aConcat(blake2AsU8a(bytes, 128), bytes), prefix: 16 },
};

const prefixes = new Map<string, Hex>();

/** `twox128(pallet) ++ twox128(item)`. */
export function storagePrefix(item: { readonly pallet: string; readonly name: string }): Hex {
  const name = `${item.pallet}.${item.name}`;
  const known = prefixes.get(name);
  if (known !== undefined) {
    return known;
  }
  const prefix = toHex(u8aConcat(xxhashAsU8a(item.pallet, 128), xxhashAsU8a(item.name, 128)));
  prefixes.set(name, prefix);
  return prefix;
}

/** The storage key of an item under its first `keys.length` keys. */
export function storageKey(codec: Codec, item: StorageItem<never, unknown> | StorageItem, keys: readonly unknown[]): Hex {
  let key: string = storagePrefix(item);
  for (const [index, plainKey] of keys.entries()) {
    const [hasher, scale] = item.keys[index] as HashedKey;
    key += toHex(hashers[hasher].hash(codec.encode(scale, plainKey))).slice(2);
  }
  return key as Hex;
}

export interface StateReader {
  read(key: Hex): Hex | undefined;
  /** Keys that begin so, in order. */
  keys(prefix: Hex): Hex[];
}

export interface WritableLedger extends Ledger {
  readonly changes: Changes;
  readonly events: readonly DepositedEvent[];
  /** What events deposited from now on belong to. */
  phase: BlockPhase;
}

export function createLedger(codec: Codec, block: number, state: StateReader): WritableLedger {
  const layers: Changes[] = [new Map()];
  let events: DepositedEvent[] = [];

  const top = (): Changes => layers.at(-1) as Changes;
  function read(key: Hex): Hex | undefined {
    for (let index = layers.length - 1; index >= 0; index--) {
      const layer = layers[index] as Changes;
      if (layer.has(key)) {
        return layer.get(key);
      }
    }
    return state.read(key);
  }

  const ledger: WritableLedger = {
    phase: { type: "Initialization" },
    codec,
    block,
    get changes() {
      return layers[0] as Changes;
    },
    get events() {
      return events;
    },
    get(item, ...keys) {
      const bytes = read(storageKey(codec, item as never, keys));
      return bytes === undefined ? item.fallback : (codec.decode(item.value, bytes) as typeof item.fallback);
    },
    has: (item, ...keys) => read(storageKey(codec, item as never, keys)) !== undefined,
    set(item, keys, value) {
      top().set(storageKey(codec, item as never, keys), toHex(codec.encode(item.value as Scale<unknown>, value)));
    },
    remove(item, ...keys) {
      top().set(storageKey(codec, item as never, keys), undefined);
    },
    entries(item, ...first) {
      const prefix = storageKey(codec, item as never, first);
      const keys = new Set(state.keys(prefix));
      for (const layer of layers) {
        for (const key of layer.keys()) {
          if (key.startsWith(prefix)) {
            keys.add(key);
          }
        }
      }
      return [...keys].sort().flatMap((key): [unknown[], never][] => {
        const bytes = read(key);
        if (bytes === undefined) {
          return [];
        }
        return [
          [plainKeys(codec, item.keys.slice(first.length), `0x${key.slice(prefix.length)}`), codec.decode(item.value, bytes) as never],
        ];
      });
    },
    setRaw(key, value) {
      top().set(key, value);
    },
    deposit(definition, content) {
      events.push({ phase: ledger.phase, definition: definition as never, content });
    },
    transaction(work) {
      const before = events.length;
      layers.push(new Map());
      try {
        const outcome = work();
        const done = layers.pop() as Changes;
        for (const [key, value] of done) {
          top().set(key, value);
        }
        return outcome;
      } catch (error) {
        layers.pop();
        events = events.slice(0, before);
        throw error;
      }
    },
  };
  return ledger;
}

/** The keys behind a storage key's hashes; every hasher used here keeps them. */
function plainKeys(codec: Codec, keys: readonly HashedKey[], rest: Hex): unknown[] {
  let offset = 2;
  return keys.map(([hasher, scale]) => {
    offset += hashers[hasher].prefix * 2;
    const { value, length } = codec.decodeWithLength(scale, `0x${rest.slice(offset)}`);
    offset += length * 2;
    return value;
  });
}
