/** The runtime as a whole: its pallets, how a call finds its pallet, how an extrinsic is judged and applied, how a block is made. */

import { u8aConcat, u8aToHex } from "@polkadot/util";
import { adoptMetadata } from "../metadata/adopt.ts";
import { type BuiltMetadata, buildMetadata } from "../metadata/build.ts";
import type { CallDefinition, Origin, PalletDefinition, RuntimeApis } from "../metadata/pallet.ts";
import { bytes as bytesType, compact, type Hex, type NestedCall, u32 } from "../metadata/scale.ts";
import { phase as phaseType } from "../metadata/types.ts";
import { adminUtils } from "./admin-utils.ts";
import { createRuntimeApis } from "./apis.ts";
import { balances, burn, feeOf, paymentEvents, transactionPayment } from "./balances.ts";
import { commitments } from "./commitments.ts";
import { encodeDispatchError } from "./dispatch-error.ts";
import { decodeExtrinsic, type Extrinsic, encodeUnsigned, eraWindow } from "./extrinsic.ts";
import { createLedger, DispatchError, type Ledger, type StateReader, storageKey, type WritableLedger } from "./ledger.ts";
import { onInitialize } from "./subtensor/epoch.ts";
import { subtensor } from "./subtensor/index.ts";
import { sudo } from "./sudo.ts";
import { blockHashCount, incrementNonce, system, systemEvents, systemStorage, zeroHash } from "./system.ts";
import { aura, auraStorage, timestamp } from "./timestamp.ts";

/** Why an extrinsic does not come into the pool or a block: the words that follow "Invalid Transaction". */
export class InvalidTransaction extends Error {
  override readonly name = "InvalidTransaction";
}

/** The call's bytes make the runtime trap. */
export class RuntimeTrap extends Error {
  override readonly name = "RuntimeTrap";
}

export interface Validity {
  readonly account: Hex;
  readonly nonce: number;
  /** The account's next nonce in the state asked. */
  readonly nextNonce: number;
  readonly priority: bigint;
  /** First block in which it is no longer valid. */
  readonly death: number;
}

export interface Runtime {
  readonly metadata: BuiltMetadata;
  readonly pallets: readonly PalletDefinition[];
  readonly apis: RuntimeApis;
  readonly blockTime: number;
  callDefinition(call: NestedCall): { name: string; definition: CallDefinition } | undefined;
  /** @throws InvalidTransaction, RuntimeTrap */
  validate(ledger: Ledger, extrinsic: Extrinsic): Validity;
  /** Begins a block: header facts and what pallets do first. */
  initialize(state: StateReader, block: number, parentHash: Hex): WritableLedger;
  inherents(ledger: Ledger, timestamp: number): Hex[];
  /** Applies what has been validated against this very ledger. */
  apply(ledger: WritableLedger, extrinsic: Extrinsic, index: number): void;
  /** Writes the events and count; the ledger's changes are then the block's. */
  finalize(ledger: WritableLedger): void;
}

function argumentsOf(definition: CallDefinition, args: readonly unknown[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.keys(definition.fields).map((name, index) => [name, args[index]]));
}

/**
 * @param given a metadata that others made, to be served and spoken by in place of the runtime's own
 * @throws ConnitoError metadata-unsuitable
 */
export function createRuntime(blockTime: number, given?: Uint8Array): Runtime {
  const pallets: PalletDefinition[] = [
    system,
    timestamp(blockTime),
    aura(blockTime),
    balances,
    transactionPayment,
    subtensor,
    sudo(
      (ledger, origin, nested) => dispatch(ledger, origin, nested),
      (error) => encodeDispatchError(error, indices),
    ),
    commitments,
    adminUtils,
  ];
  const apis = createRuntimeApis({
    metadataVersions: () => metadata.versions,
    legacyMetadata: () => metadata.legacy,
    metadata: (version) => metadata.encoded(version),
    fee: (bytes) => feeOfExtrinsic(decodeExtrinsic(registry, u8aToHex(codec.encode(bytesType, bytes)))),
  });
  const metadata: BuiltMetadata = given === undefined ? buildMetadata({ pallets, apis }) : adoptMetadata(given, { pallets, apis });
  const { codec, indices, registry } = metadata;
  const calls = new Map(
    pallets.flatMap((pallet) =>
      Object.entries(pallet.calls ?? {}).map(([name, definition]) => [
        `${indices.pallet(pallet.name)} ${indices.call(pallet.name, name)}`,
        { name, definition },
      ]),
    ),
  );
  const callDefinition = ({ pallet, call }: NestedCall) => calls.get(`${pallet} ${call}`);

  function dispatch(ledger: Ledger, origin: Origin, call: NestedCall): void {
    const found = callDefinition(call);
    if (found === undefined) {
      throw new DispatchError({ type: "CannotLookup" });
    }
    found.definition.dispatch(ledger, origin, argumentsOf(found.definition, call.args) as never);
  }

  function eventBytes(ledger: WritableLedger): Hex {
    const records = ledger.events.map(({ phase, definition, content }) => {
      const { fieldNames, types } = definition;
      const values =
        fieldNames === undefined ? (content as unknown[]) : fieldNames.map((name) => (content as Record<string, unknown>)[name]);
      return u8aConcat(
        codec.encode(phaseType, phase),
        new Uint8Array([indices.pallet(definition.pallet), indices.event(definition.pallet, definition.name)]),
        ...types.map((type, field) => codec.encode(type, values[field])),
        new Uint8Array([0]),
      );
    });
    return u8aToHex(u8aConcat(codec.encode(compact(u32), records.length), ...records));
  }

  function feeOfExtrinsic(extrinsic: Extrinsic): { operational: boolean; fee: bigint; tip: bigint } {
    const definition = callDefinition(extrinsic.call)?.definition;
    const fee = feeOf(definition?.paysFee ?? false, extrinsic.length);
    return { operational: definition?.operational ?? false, fee, tip: extrinsic.signed?.tip ?? 0n };
  }

  return {
    metadata,
    pallets,
    apis,
    blockTime,
    callDefinition,

    validate(ledger, extrinsic) {
      const { signed, call } = extrinsic;
      const found = callDefinition(call);
      if (signed === undefined || found === undefined) {
        throw new InvalidTransaction("Transaction call is not expected");
      }
      if (found.definition.traps?.(argumentsOf(found.definition, call.args) as never) === true) {
        throw new RuntimeTrap(`the arguments of ${found.name} are out of bounds`);
      }
      const genesisHash = ledger.get(systemStorage.BlockHash, 0);
      const window = signed.era === undefined ? undefined : eraWindow(signed.era, ledger.block);
      const birthHash = window === undefined ? genesisHash : ledger.get(systemStorage.BlockHash, window.birth);
      if (birthHash === zeroHash) {
        throw new InvalidTransaction("Transaction has an ancient birth block");
      }
      if (!signed.isSignatureValid(genesisHash, birthHash)) {
        throw new InvalidTransaction("Transaction has a bad signature");
      }
      const account = ledger.get(systemStorage.Account, signed.account);
      if (signed.nonce < account.nonce) {
        throw new InvalidTransaction("Transaction is outdated");
      }
      if (account.data.free < feeOf(found.definition.paysFee, extrinsic.length) + signed.tip) {
        throw new InvalidTransaction("Inability to pay some fees (e.g. account balance too low)");
      }
      const origin: Origin = { kind: "signed", account: signed.account };
      const refusal = found.definition.validate?.(ledger, origin, argumentsOf(found.definition, call.args) as never);
      if (refusal !== undefined) {
        throw new InvalidTransaction(`Custom error: ${refusal}`);
      }
      return {
        account: signed.account,
        nonce: signed.nonce,
        nextNonce: account.nonce,
        priority: (found.definition.operational ? 1n << 60n : 0n) + signed.tip + 1n,
        death: window?.death ?? Number.MAX_SAFE_INTEGER,
      };
    },

    initialize(state, block, parentHash) {
      const ledger = createLedger(codec, block, state);
      ledger.set(systemStorage.Number, [], block);
      ledger.set(systemStorage.ParentHash, [], parentHash);
      ledger.set(systemStorage.BlockHash, [block - 1], parentHash);
      // The genesis hash stays: immortal transactions are signed over it.
      if (block > blockHashCount + 1) {
        ledger.remove(systemStorage.BlockHash, block - blockHashCount - 1);
      }
      onInitialize(ledger);
      return ledger;
    },

    inherents(ledger, now) {
      ledger.set(auraStorage.CurrentSlot, [], BigInt(Math.floor(now / blockTime)));
      return [
        encodeUnsigned(
          registry,
          u8aConcat(
            new Uint8Array([indices.pallet("Timestamp"), indices.call("Timestamp", "set")]),
            registry.createType("Compact<u64>", now).toU8a(),
          ),
        ),
      ];
    },

    apply(ledger, extrinsic, index) {
      ledger.phase = { type: "ApplyExtrinsic", value: index };
      const { signed, call } = extrinsic;
      const found = callDefinition(call);
      const paysFee = signed !== undefined && (found?.definition.paysFee ?? false);
      const fee = feeOf(paysFee, extrinsic.length) + (signed?.tip ?? 0n);
      if (signed !== undefined) {
        incrementNonce(ledger, signed.account);
        burn(ledger, signed.account, fee);
      }
      const origin: Origin = signed === undefined ? { kind: "none" } : { kind: "signed", account: signed.account };
      const dispatchInfo = {
        weight: { refTime: 0n, proofSize: 0n },
        class: { type: signed === undefined ? "Mandatory" : found?.definition.operational ? "Operational" : "Normal" },
        paysFee: { type: paysFee ? "Yes" : "No" },
      };
      let failure: DispatchError | undefined;
      try {
        ledger.transaction(() => dispatch(ledger, origin, call));
      } catch (error) {
        if (!(error instanceof DispatchError)) {
          throw error;
        }
        failure = error;
      }
      if (fee > 0n && signed !== undefined) {
        ledger.deposit(paymentEvents.TransactionFeePaid, { who: signed.account, actualFee: fee, tip: signed.tip });
      }
      if (failure === undefined) {
        ledger.deposit(systemEvents.ExtrinsicSuccess, { dispatchInfo });
      } else {
        ledger.deposit(systemEvents.ExtrinsicFailed, { dispatchError: encodeDispatchError(failure, indices), dispatchInfo });
      }
    },

    finalize(ledger) {
      ledger.set(systemStorage.EventCount, [], ledger.events.length);
      ledger.setRaw(storageKey(codec, systemStorage.Events, []), eventBytes(ledger));
    },
  };
}
