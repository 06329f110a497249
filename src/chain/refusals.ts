/**
 * Why the chain refused a transaction, in words. Two places refuse: the pool, before a transaction is in a block (a JSON-RPC error with a code), and
 * the runtime, in a block (an ExtrinsicFailed event with a module error). Names are looked up in the chain's metadata; only the advice is ours.
 */
import { ConnitoError } from "../errors.ts";
import type { RpcFailure } from "./chain-errors.ts";
import type { State } from "./state.ts";

/** The chain said no. `reason` is stable: `Commitments.SpaceLimitExceeded`, or `pool.1014`. */
export class ExtrinsicRejected extends ConnitoError {
  readonly reason: string;

  constructor(message: string, reason: string, advice: Advice, cause?: unknown) {
    super(message, {
      code: "extrinsic-rejected",
      exit: "rejected",
      hint: advice.hint,
      retryable: advice.retryable ?? false,
      ...(cause === undefined ? {} : { cause }),
    });
    this.reason = reason;
  }
}

interface Advice {
  readonly hint: string;
  /** True when the same transaction may succeed later. */
  readonly retryable?: boolean;
}

const notRegistered: Advice = { hint: "Register the hotkey on this subnet: `btcli subnets register --netuid N`." };
const moreStake: Advice = { hint: "Stake more behind the hotkey on this subnet; the owner's threshold is `StakeThreshold`." };
const later: Advice = { hint: "Wait for the rate limit to pass, then try again.", retryable: true };

/** Advice by pallet and error, for what operators of this tool meet. */
export const advice: Readonly<Record<string, Advice>> = {
  "Commitments.SpaceLimitExceeded": {
    hint: "The hotkey wrote all that it may in this epoch; the space is free again at the next one (tempo blocks). Write less often.",
    retryable: true,
  },
  "Commitments.AccountNotAllowedCommit": notRegistered,
  "Commitments.TooManyFieldsInCommitmentInfo": { hint: "A commitment has at most three fields; this tool writes one. Please report it." },
  "SubtensorModule.HotKeyNotRegisteredInSubNet": notRegistered,
  "SubtensorModule.HotKeyNotRegisteredInNetwork": notRegistered,
  "SubtensorModule.HotKeyAccountNotExists": notRegistered,
  "SubtensorModule.HotKeyAlreadyRegisteredInSubNet": { hint: "Nothing to do: the hotkey has its uid." },
  "SubtensorModule.NotEnoughStakeToSetWeights": moreStake,
  "SubtensorModule.NeuronNoValidatorPermit": {
    hint: "Only neurons with a validator permit set weights; permits go to the largest stakes at each epoch. Stake more, or wait for the epoch.",
    retryable: true,
  },
  "SubtensorModule.SettingWeightsTooFast": later,
  "SubtensorModule.CommittingWeightsTooFast": later,
  "SubtensorModule.TxRateLimitExceeded": later,
  "SubtensorModule.ServingRateLimitExceeded": later,
  "SubtensorModule.StakingOperationRateLimitExceeded": later,
  "SubtensorModule.TooManyRegistrationsThisBlock": later,
  "SubtensorModule.TooManyRegistrationsThisInterval": later,
  "SubtensorModule.IncorrectWeightVersionKey": {
    hint: "The subnet asks for a newer weights version: update this tool, or the task's settings.",
  },
  "SubtensorModule.CommitRevealEnabled": { hint: "The subnet wants weights committed and revealed; its owner can switch that off." },
  "SubtensorModule.CommitRevealDisabled": { hint: "The subnet takes plain weights: set them without commit and reveal." },
  "SubtensorModule.WeightVecLengthIsLow": {
    hint: "The subnet wants weights for more miners at once (`MinAllowedWeights`); its owner can lower that.",
  },
  "SubtensorModule.UidVecContainInvalidOne": {
    hint: "A miner left the subnet meanwhile: read the neurons again and set the weights anew.",
    retryable: true,
  },
  "SubtensorModule.SubnetNotExists": { hint: "Check --netuid and --network." },
  "SubtensorModule.SubNetRegistrationDisabled": { hint: "The subnet takes no registrations now; ask its owner." },
  "SubtensorModule.NotEnoughBalanceToStake": { hint: "Put more TAO on the coldkey; on a local chain use the faucet." },
  "SubtensorModule.InsufficientBalance": { hint: "Put more TAO on the coldkey; on a local chain use the faucet." },
  "SubtensorModule.NonAssociatedColdKey": { hint: "Use the coldkey that registered this hotkey." },
  "SubtensorModule.AmountTooLow": { hint: "Stake at least the chain's minimum." },
  "Balances.InsufficientBalance": { hint: "Put more TAO on the account; on a local chain use the faucet." },
  "Sudo.RequireSudo": { hint: "Sign with the chain's sudo key; on a local chain it is //Alice." },
};

const generic: Advice = { hint: "The chain's own words are above; `connito status` shows how the hotkey stands on the subnet." };

/** A DispatchError: `{type: "Module", value: {type: "Commitments", value: {type: "SpaceLimitExceeded"}}}`, or one of the runtime's own kinds. */
export interface DispatchError {
  readonly type: string;
  readonly value?: DispatchError | undefined;
}

/** The error that an ExtrinsicFailed event, or a Sudid event's result, carries. */
export function rejectedByRuntime(state: State, { type, value }: DispatchError, what: string): ExtrinsicRejected {
  const pallet = value?.type ?? "";
  const name = value?.value?.type;
  if (type !== "Module" || name === undefined) {
    const reason = [type, pallet].filter((part) => part !== "").join(".");
    return new ExtrinsicRejected(`${what} failed in block ${state.number}: ${reason}`, `dispatch.${type}`, generic);
  }
  const words = state.codecs.wordsOn(pallet, name);
  const reason = `${pallet}.${name}`;
  return new ExtrinsicRejected(
    `${what} failed in block ${state.number}: ${reason}${words === "" ? "" : ` (${words})`}`,
    reason,
    advice[reason] ?? generic,
  );
}

/** Subtensor's own codes for transactions that its pool refuses (CustomTransactionError). */
const customErrors: Readonly<Record<number, readonly [name: string, advice: Advice]>> = {
  0: ["ColdkeySwapAnnounced", { hint: "The coldkey is about to be swapped: nothing can be sent until that is done." }],
  1: ["StakeAmountTooLow", moreStake],
  2: ["BalanceTooLow", { hint: "Put more TAO on the account." }],
  3: ["SubnetNotExists", { hint: "Check --netuid and --network." }],
  4: ["HotkeyAccountDoesntExist", notRegistered],
  5: ["NotEnoughStakeToWithdraw", { hint: "Withdraw less than is staked." }],
  6: ["RateLimitExceeded", later],
  10: ["HotKeyNotRegisteredInNetwork", notRegistered],
  11: ["InvalidIpAddress", { hint: "Announce an address that others can reach; 127.0.0.1 is refused." }],
  12: ["ServingRateLimitExceeded", later],
  13: ["InvalidPort", { hint: "Announce a port other than 0." }],
  16: ["CommitNotFound", { hint: "There is no weights commit to reveal: it was revealed already, or has expired." }],
  17: [
    "CommitBlockNotInRevealRange",
    { hint: "The epoch in which this weights commit may be revealed has not come, or is over.", retryable: true },
  ],
  19: ["UidNotFound", notRegistered],
  21: ["ColdkeySwapDisputed", { hint: "A swap of the coldkey is disputed: nothing can be sent until that is settled." }],
  255: ["BadRequest", generic],
};

/** What to do about a transaction that the pool did not take. */
export type PoolVerdict =
  /** It is in the pool: it was sent before. */
  | "known"
  /** These bytes are too old, or their nonce is used: maybe by themselves. Look on the chain, then sign again. */
  | "outdated"
  /** Sign again a little later. */
  | "again"
  /** It will not be taken. */
  | "refused";

/** Sorts the pool's answers (code, and the reason in its data) by what can be done. */
export function poolVerdict({ code, message }: RpcFailure): PoolVerdict {
  if (code === 1013) return "known";
  if (code === 1010 && /outdated|stale|ancient birth block/i.test(message)) return "outdated";
  // banned for a while, another with this nonce, usurped, dropped from a full pool; or a nonce from the future
  if ([1012, 1014, 1015, 1016].includes(code) || (code === 1010 && /future/i.test(message))) return "again";
  return "refused";
}

/** Whether another transaction stands in the pool under the same nonce. */
export function isTaken({ code }: RpcFailure): boolean {
  return code === 1014 || code === 1015;
}

const poolCodes: Readonly<Record<number, Advice>> = {
  1010: { hint: "The node finds the transaction invalid; its reason is above." },
  1011: { hint: "The runtime could not even judge the transaction. Please report this with the command that led to it." },
  1012: { hint: "The node has banned this transaction for some minutes; wait, or use another endpoint.", retryable: true },
  1014: { hint: "Another process sends with the same hotkey: stop it, one at a time may.", retryable: true },
  1015: { hint: "Another process sends with the same hotkey: stop it, one at a time may.", retryable: true },
  1016: { hint: "The node's pool is full: try again later, or use another endpoint.", retryable: true },
};

/** The error for a transaction that the pool refused. */
export function rejectedByPool(failure: RpcFailure, what: string): ExtrinsicRejected {
  const custom = customErrors[Number(/custom error: (\d+)/i.exec(failure.message)?.[1])];
  if (custom !== undefined) return new ExtrinsicRejected(`${what} was refused: ${custom[0]}`, `pool.${custom[0]}`, custom[1], failure);
  if (/pay some fees|balance too low/i.test(failure.message)) {
    const poor: Advice = { hint: "Put some TAO on the account for fees; on a local chain use the faucet." };
    return new ExtrinsicRejected(`${what} was refused: the account cannot pay the fees`, "pool.Payment", poor, failure);
  }
  return new ExtrinsicRejected(
    `${what} was refused: ${failure.message}`,
    `pool.${failure.code}`,
    poolCodes[failure.code] ?? generic,
    failure,
  );
}
