/** Commitments: one current value a hotkey and subnet, within a space limit that is counted anew each epoch. */

import { errors, event, events, optionalMap, single, storage } from "../metadata/declarations.ts";
import { call, type PalletDefinition } from "../metadata/pallet.ts";
import {
  boundedBytes,
  boundedVec,
  byteArray,
  bytes,
  type Hex,
  type Scale,
  struct,
  type Tagged,
  tuple,
  u32,
  u64,
  type Variant,
  vec,
} from "../metadata/scale.ts";
import { accountId, netuid } from "../metadata/types.ts";
import { ensure, type Ledger } from "./ledger.ts";
import { epochIndex } from "./subtensor/epoch.ts";
import { subtensorStorage } from "./subtensor/storage.ts";
import { ensureRoot, ensureSigned } from "./system.ts";

const maximumFields = 3;
const maximumBigRaw = 512;
const maximumTimelocked = 1024;
/** What a call counts at least towards the space limit, in bytes. */
const minimumSpace = 100n;

/** Raw0 to Raw128 are variants of their own: the length is in the variant's index. */
function data(): Scale<Tagged> {
  const list: Variant[] = [{ name: "None", index: 0, fields: [] }];
  for (let length = 0; length <= 128; length++) {
    list.push({ name: `Raw${length}`, index: 1 + length, fields: [{ type: byteArray(length).shape }] });
  }
  for (const [offset, name] of ["BlakeTwo256", "Sha256", "Keccak256", "ShaThree256"].entries()) {
    list.push({ name, index: 130 + offset, fields: [{ type: byteArray(32).shape }] });
  }
  list.push({
    name: "TimelockEncrypted",
    index: 134,
    fields: [
      { name: "encrypted", type: boundedBytes().shape },
      { name: "reveal_round", type: u64.shape },
    ],
  });
  list.push({ name: "ResetBondsFlag", index: 135, fields: [] });
  list.push({ name: "BigRaw", index: 136, fields: [{ type: boundedBytes().shape }] });
  return { shape: { kind: "variant", path: "pallet_commitments::types::Data", variants: list } };
}

const commitmentInfo = struct("pallet_commitments::types::CommitmentInfo", { fields: boundedVec(data()) });
const registration = struct("pallet_commitments::types::Registration", { deposit: u64, block: u32, info: commitmentInfo });
const usageTracker = struct("pallet_commitments::types::UsageTracker", { lastEpoch: u64, usedSpace: u64 });

const byNeuron = [
  ["Identity", netuid],
  ["Twox64Concat", accountId],
] as const;

export const commitmentsStorage = storage("Commitments", {
  CommitmentOf: optionalMap(byNeuron, registration),
  LastCommitment: optionalMap(byNeuron, u32),
  LastBondsReset: optionalMap(byNeuron, u32),
  RevealedCommitments: optionalMap(byNeuron, vec(tuple(bytes, u64))),
  UsedSpaceOf: optionalMap(byNeuron, usageTracker),
  MaxSpace: single(u32, 3100),
});

const commitmentsEvents = events("Commitments", {
  Commitment: event(0, { netuid, who: accountId }),
  /** In place of Commitment, for one with a time-locked field. */
  TimelockCommitment: event(1, { netuid, who: accountId, revealRound: u64 }),
});

const commitmentsErrors = errors("Commitments", { TooManyFieldsInCommitmentInfo: 0, AccountNotAllowedCommit: 1, SpaceLimitExceeded: 2 });

const hexBytes = (hex: string | undefined): number => (hex === undefined ? 0 : (hex.length - 2) / 2);

/** Bytes that a field counts towards the space limit. */
function spaceOf(field: Tagged): number {
  if (field.type === "TimelockEncrypted") {
    return hexBytes((field.value as { encrypted: Hex }).encrypted);
  }
  return typeof field.value === "string" ? hexBytes(field.value) : 0;
}

/** Whether the fields are out of the bounds of Subtensor's types. */
function traps(fields: readonly Tagged[]): boolean {
  return (
    fields.length > maximumFields ||
    fields.some(
      (field) =>
        (field.type === "BigRaw" && spaceOf(field) > maximumBigRaw) ||
        (field.type === "TimelockEncrypted" && spaceOf(field) > maximumTimelocked),
    )
  );
}

function countSpace(ledger: Ledger, subnet: number, who: Hex, fields: readonly Tagged[]): void {
  const required = fields.reduce((sum, field) => sum + BigInt(spaceOf(field)), 0n);
  const epoch = BigInt(epochIndex(ledger, subnet, ledger.block));
  const before = ledger.get(commitmentsStorage.UsedSpaceOf, subnet, who);
  const used = (before?.lastEpoch === epoch ? before.usedSpace : 0n) + (required > minimumSpace ? required : minimumSpace);
  ensure(used <= BigInt(ledger.get(commitmentsStorage.MaxSpace)), commitmentsErrors.SpaceLimitExceeded);
  ledger.set(commitmentsStorage.UsedSpaceOf, [subnet, who], { lastEpoch: epoch, usedSpace: used });
}

export const commitments: PalletDefinition = {
  name: "Commitments",
  index: 18,
  storage: commitmentsStorage,
  events: commitmentsEvents,
  errors: commitmentsErrors,
  calls: {
    set_commitment: call(
      0,
      { netuid, info: commitmentInfo },
      (ledger, origin, { netuid: subnet, info }) => {
        const who = ensureSigned(origin);
        ensure(ledger.has(subtensorStorage.Uids, subnet, who), commitmentsErrors.AccountNotAllowedCommit);
        countSpace(ledger, subnet, who, info.fields);
        if (info.fields.some((field) => field.type === "ResetBondsFlag")) {
          ledger.set(commitmentsStorage.LastBondsReset, [subnet, who], ledger.block);
        }
        ledger.set(commitmentsStorage.CommitmentOf, [subnet, who], { deposit: 0n, block: ledger.block, info });
        ledger.set(commitmentsStorage.LastCommitment, [subnet, who], ledger.block);
        const locked = info.fields.find((field) => field.type === "TimelockEncrypted")?.value as { revealRound: bigint } | undefined;
        if (locked === undefined) {
          ledger.deposit(commitmentsEvents.Commitment, { netuid: subnet, who });
        } else {
          ledger.deposit(commitmentsEvents.TimelockCommitment, { netuid: subnet, who, revealRound: locked.revealRound });
        }
      },
      { operational: true, traps: ({ info }) => traps(info.fields) },
    ),
    set_max_space: call(2, { newLimit: u32 }, (ledger, origin, { newLimit }) => {
      ensureRoot(origin);
      ledger.set(commitmentsStorage.MaxSpace, [], newLimit);
    }),
  },
  constants: {
    MaxFields: { type: u32, value: maximumFields },
    InitialDeposit: { type: u64, value: 0n },
    FieldDeposit: { type: u64, value: 0n },
  },
};
