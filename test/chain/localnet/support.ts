/** A chain without clock or sockets: blocks are made when a test says so, and extrinsics are made as polkadot.js makes them. */

import { Keyring } from "@polkadot/keyring";
import type { KeyringPair } from "@polkadot/keyring/types";
import { expandMetadata, Metadata, type Vec } from "@polkadot/types";
import type { EventRecord } from "@polkadot/types/interfaces";
import type { IMethod } from "@polkadot/types/types";
import { u8aToHex } from "@polkadot/util";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import type { Block } from "../../../src/chain/localnet/blocks.ts";
import { type ChainOptions, createChain, type Localchain } from "../../../src/chain/localnet/chain.ts";
import { type Genesis, genesisState } from "../../../src/chain/localnet/genesis.ts";
import type { Hex } from "../../../src/chain/localnet/metadata/scale.ts";
import { RpcError } from "../../../src/chain/localnet/pool.ts";
import { decodeExtrinsic, type Extrinsic } from "../../../src/chain/localnet/runtime/extrinsic.ts";
import { createRuntime, type Runtime } from "../../../src/chain/localnet/runtime/runtime.ts";
import { systemStorage } from "../../../src/chain/localnet/runtime/system.ts";
import type { StateView } from "../../../src/chain/localnet/state.ts";

export const netuid = 7;
export const tao = 1_000_000_000n;

export interface Signing {
  readonly nonce?: number;
  readonly tip?: bigint;
  /** Blocks an extrinsic lives; immortal when left out. */
  readonly period?: number;
  /** The block that the era is counted from; the best when left out. */
  readonly from?: Block;
  readonly specVersion?: number;
  readonly genesisHash?: Hex;
}

export interface HappenedEvent {
  /** `Commitments.Commitment` */
  readonly name: string;
  readonly extrinsic: number | undefined;
  readonly data: readonly unknown[];
}

export interface Bench {
  readonly chain: Localchain;
  /** The public key as hex, which is how the runtime knows an account. */
  account(pair: KeyringPair): Hex;
  call(name: CallName, ...args: readonly unknown[]): IMethod;
  sign(pair: KeyringPair, call: CallName, args: readonly unknown[], options?: Signing): Extrinsic;
  /** Makes the next block, one second later. */
  produce(count?: number): Block;
  events(block: Block): HappenedEvent[];
  /** Puts a call in the next block. @returns "ok", the name of the error it failed with, or `code: reason` of the pool */
  send(pair: KeyringPair, call: CallName, ...args: unknown[]): string;
  /** Produces blocks up to and with this number. */
  produceTo(number: number): void;
}

/** `subtensorModule.setWeights`, in polkadot.js' spelling. */
export type CallName = `${string}.${string}`;

let shared: { runtime: Runtime; tx: ReturnType<typeof expandMetadata>["tx"] } | undefined;
let people: Keyring | undefined;

/** Pairs by derivation path, for instance `//Alice`. */
export async function pairOf(uri: string): Promise<KeyringPair> {
  await cryptoWaitReady();
  people ??= new Keyring({ type: "sr25519" });
  return people.addFromUri(uri);
}

/** Building the metadata takes most of a second: every chain of a test run has the same runtime. */
export async function sharedRuntime(): Promise<NonNullable<typeof shared>> {
  await cryptoWaitReady();
  if (shared === undefined) {
    const runtime = createRuntime(1000);
    const { registry } = runtime.metadata;
    const v15 = runtime.metadata.encoded(15) as Hex;
    shared = { runtime, tx: expandMetadata(registry, new Metadata(registry, v15)).tx };
  }
  return shared;
}

export async function createBench(genesis: Genesis = {}, options: Partial<ChainOptions> = {}): Promise<Bench> {
  const { runtime, tx } = await sharedRuntime();
  const { registry } = runtime.metadata;
  const chain = createChain({ runtime, genesisState: genesisState(runtime, genesis), finalityLag: 2, ...options });
  let now = Date.parse("2026-01-01T00:00:00Z");

  const account = (pair: KeyringPair): Hex => u8aToHex(pair.publicKey);
  const produce = (count = 1): Block => {
    for (let made = 0; made < count; made++) {
      now += 1000;
      chain.produce(now);
    }
    return chain.best();
  };

  function call(path: CallName, ...args: readonly unknown[]): IMethod {
    const [section = "", name = ""] = path.split(".");
    const method = tx[section]?.[name];
    if (method === undefined) {
      throw new Error(`no call ${path}`);
    }
    return method(...args);
  }

  function sign(pair: KeyringPair, name: CallName, args: readonly unknown[], options: Signing = {}): Extrinsic {
    const from = options.from ?? chain.best();
    const genesisHash = options.genesisHash ?? chain.genesis().hash;
    const mortal = options.period !== undefined;
    const extrinsic = registry.createType("Extrinsic", { method: call(name, ...args) }, { version: 4 });
    extrinsic.sign(pair, {
      blockHash: mortal ? from.hash : genesisHash,
      genesisHash,
      nonce: options.nonce ?? chain.ledgerAt(chain.best()).get(systemStorage.Account, account(pair)).nonce,
      tip: options.tip ?? 0,
      runtimeVersion: { specVersion: options.specVersion ?? 393, transactionVersion: 1 } as never,
      ...(mortal ? { era: registry.createType("ExtrinsicEra", { current: from.header.number, period: options.period as number }) } : {}),
    });
    return decodeExtrinsic(registry, extrinsic.toHex());
  }

  function events(block: Block): HappenedEvent[] {
    const state = chain.stateOf(block.hash) as StateView;
    const bytes = state.read("0x26aa394eea5630e07c48ae0c9558cef780d41e5e16056765bc8461851072c9d7");
    const records = registry.createType<Vec<EventRecord>>("Vec<EventRecord>", bytes);
    return records.map(({ event, phase }) => {
      const { section, method } = event;
      return {
        name: `${section.charAt(0).toUpperCase()}${section.slice(1)}.${method}`,
        extrinsic: phase.isApplyExtrinsic ? phase.asApplyExtrinsic.toNumber() : undefined,
        data: event.data.map((item) => item.toJSON()),
      };
    });
  }

  function outcome(block: Block, extrinsic: Extrinsic): string {
    const index = block.extrinsics.indexOf(extrinsic.bytes);
    if (index === -1) {
      return "not included";
    }
    const failed = events(block).find((event) => event.extrinsic === index && event.name === "System.ExtrinsicFailed");
    if (failed === undefined) {
      return "ok";
    }
    const error = failed.data[0] as { module?: { index: number; error: Hex } };
    if (error.module === undefined) {
      return Object.keys(error)[0] ?? "failed";
    }
    const { index: pallet, error: code } = error.module;
    const { name } = registry.findMetaError({
      index: registry.createType("u8", pallet),
      error: registry.createType("[u8;4]", code),
    } as never);
    return name;
  }

  return {
    chain,
    account,
    call,
    sign,
    produce,
    events,
    produceTo: (number) => void produce(number - chain.best().header.number),
    send(pair, name, ...args) {
      const extrinsic = sign(pair, name, args);
      try {
        chain.submit(extrinsic);
      } catch (error) {
        if (error instanceof RpcError) {
          return `${error.code}: ${error.data ?? error.message}`;
        }
        throw error;
      }
      return outcome(produce(), extrinsic);
    },
  };
}

/** A subnet owned by //Alice with two validators and a miner; uids 0, 1, 2. */
export async function subnetOf(hyperparameters: NonNullable<Genesis["subnets"]>[number]["hyperparameters"] = {}): Promise<{
  genesis: Genesis;
  alice: KeyringPair;
  first: KeyringPair;
  second: KeyringPair;
  miner: KeyringPair;
}> {
  const [alice, first, second, miner] = await Promise.all(["//Alice", "//First", "//Second", "//Miner"].map(pairOf));
  if (alice === undefined || first === undefined || second === undefined || miner === undefined) {
    throw new Error("no pairs");
  }
  const genesis: Genesis = {
    subnets: [{ netuid, ownerHotkey: alice.address, hyperparameters }],
    neurons: [
      { netuid, hotkey: first.address, stake: 2000n * tao },
      { netuid, hotkey: second.address, stake: 1000n * tao },
      { netuid, hotkey: miner.address },
    ],
  };
  return { genesis, alice, first, second, miner };
}
