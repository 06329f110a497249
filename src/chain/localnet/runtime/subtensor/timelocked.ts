/**
 * Weights committed under a time lock: the validator encrypts them to a later round of the drand beacon, and the chain itself opens
 * them when it has that round's pulse. No beacon reaches the localnet, so a commit is taken, judged and dropped when its time is past,
 * as on a chain that misses the pulse; its weights are never set.
 */

import { call } from "../../metadata/pallet.ts";
import { boundedBytes, type Hex, u8, u16, u64 } from "../../metadata/scale.ts";
import { netuid } from "../../metadata/types.ts";
import { blake2Hex } from "../hashing.ts";
import { ensure, type Ledger } from "../ledger.ts";
import { ensureSigned } from "../system.ts";
import { epochIndex } from "./epoch.ts";
import { subtensorErrors as errors, subtensorEvents as events } from "./outcomes.ts";
import { subtensorStorage as items } from "./storage.ts";
import { ensureMechanism, maximumUnrevealedCommits, setLastUpdate, validateStake, withinRateLimit } from "./weights.ts";

/** The bound of the call's argument: a longer one cannot be decoded, and the runtime traps. */
const longestCommit = 5000;

interface Timelocked {
  readonly netuid: number;
  readonly commit: Hex;
  readonly revealRound: bigint;
  readonly commitRevealVersion: number;
}

function commitTimelocked(ledger: Ledger, hotkey: Hex, { netuid: subnet, commit, revealRound, commitRevealVersion }: Timelocked): void {
  ensure(commitRevealVersion === ledger.get(items.CommitRevealWeightsVersion), errors.IncorrectCommitRevealVersion);
  ensure(ledger.get(items.CommitRevealWeightsEnabled, subnet), errors.CommitRevealDisabled);
  const uid = ledger.get(items.Uids, subnet, hotkey);
  ensure(uid !== undefined, errors.HotKeyNotRegisteredInSubNet);
  ensure(withinRateLimit(ledger, subnet, uid), errors.CommittingWeightsTooFast);
  const epoch = BigInt(epochIndex(ledger, subnet, ledger.block));
  const commits = ledger.get(items.TimelockedWeightCommits, subnet, epoch);
  ensure(commits.filter(([account]) => account === hotkey).length < maximumUnrevealedCommits, errors.TooManyUnrevealedCommits);
  ledger.set(items.TimelockedWeightCommits, [subnet, epoch], [...commits, [hotkey, BigInt(ledger.block), commit, revealRound]]);
  ledger.deposit(events.TimelockedWeightsCommitted, [hotkey, subnet, blake2Hex(commit), revealRound]);
  setLastUpdate(ledger, subnet, uid);
}

const timelocked = { commit: boundedBytes(), revealRound: u64, commitRevealVersion: u16 };
const options = {
  validate: validateStake,
  traps: ({ commit }: { readonly commit: Hex }) => (commit.length - 2) / 2 > longestCommit,
};

export const timelockedCalls = {
  commit_timelocked_weights: call(
    113,
    { netuid, ...timelocked },
    (ledger, origin, args) => commitTimelocked(ledger, ensureSigned(origin), args),
    options,
  ),
  commit_timelocked_mechanism_weights: call(
    118,
    { netuid, mecid: u8, ...timelocked },
    (ledger, origin, args) => {
      ensureMechanism(ledger, args);
      commitTimelocked(ledger, ensureSigned(origin), args);
    },
    options,
  ),
};
