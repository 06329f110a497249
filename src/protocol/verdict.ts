/**
 * The verdict on each assigned miner (docs/protocol.md, section 8): the first status that applies, in the order of the table here.
 * The statuses up to `copy` follow from the chain alone; whoever passes them has an artifact that must be fetched and evaluated.
 */
import { inWindow, windowOf } from "./clock.ts";
import { commitmentHash } from "./commitment.ts";
import type { Assignment } from "./experts/assignment.ts";
import type { Hash } from "./hash.ts";
import type { Hotkey } from "./hotkey.ts";
import type { CommitRecord, RevealRecord } from "./records.ts";
import { type Task, taskHash } from "./task.ts";

/** Every status, in the order in which they are tried, with what it means and what the miner can do about it. */
export const statuses = {
  "not-committed": {
    meaning: "assigned, and no commit in the window",
    hint: "Run `connito commit` inside the commit window; `connito cycle status` shows it.",
  },
  "not-revealed": {
    meaning: "committed, and no reveal in the window",
    hint: "Run `connito reveal` inside the reveal window, or leave it to `connito cycle run`.",
  },
  "commitment-mismatch": {
    meaning: "the reveal does not hash to the commitment",
    hint: "Reveal the artifact, salt, group and base that were committed to, with the hotkey that committed.",
  },
  "wrong-group": { meaning: "the group is not the one assigned", hint: "Run `connito assign` and train the group it names." },
  copy: { meaning: "another miner committed to the same artifact earlier", hint: "Submit only what you trained yourself." },
  unreachable: {
    meaning: "the locator did not deliver the artifact in time",
    hint: "Check that the locator in your reveal can be reached from outside, and keep serving until the merge.",
  },
  "artifact-mismatch": {
    meaning: "what was delivered does not have the artifact root",
    hint: "Serve the submission file unchanged, the whole of it, and the same to everybody.",
  },
  malformed: {
    meaning: "the file is not a submission of the selected experts",
    hint: "Make the submission with `connito train`; its tensors, shapes, metadata and size are checked.",
  },
  "non-finite": {
    meaning: "a value of the delta, or the loss with it, is NaN or infinite",
    hint: "Lower the learning rate, or look for the step at which the loss stopped being finite.",
  },
  "no-gain": {
    meaning: "the score is below evaluation.minimumScore",
    hint: "Train longer or on more of the domain's text; a gain within the noise of evaluation earns nothing.",
  },
  "near-copy": {
    meaning: "it is made of earlier submissions of the group",
    hint: "Submit only what you trained yourself, from the cycle's version and with your own order of the data.",
  },
  "not-trained": {
    meaning: "it shows too little training on the sequences that its own miner was to learn from",
    hint: "Train with this hotkey, along its own walk, on evaluation.leastTraining.sequences of the task or more; `connito train` does where the time is enough.",
  },
  accepted: { meaning: "the score is paid", hint: "Nothing to do." },
  unscored: {
    meaning: "the validator could not tell, by no fault of the miner",
    hint: "Nothing to do for the miner; the validator's log says what failed.",
  },
} as const;

export type Status = keyof typeof statuses;

/** The statuses that follow from the chain alone. */
const chainStatuses = ["not-committed", "not-revealed", "commitment-mismatch", "wrong-group", "copy"] as const;
export type ChainStatus = (typeof chainStatuses)[number];

export function isChainStatus(status: Status): status is ChainStatus {
  return (chainStatuses as readonly Status[]).includes(status);
}

export function isStatus(value: unknown): value is Status {
  return typeof value === "string" && Object.hasOwn(statuses, value);
}

/** Where a commit stands on the chain: what "earlier" compares. */
export interface CommitPlace {
  readonly hotkey: Hotkey;
  readonly block: number;
  readonly extrinsicIndex: number;
}

/** A commit record as it stood at the last block of the commit window. */
export interface ChainCommit extends CommitPlace {
  readonly record: CommitRecord;
}

/** A reveal record as it stood at the last block of the reveal window. */
export interface ChainReveal {
  readonly hotkey: Hotkey;
  readonly block: number;
  readonly record: RevealRecord;
}

export type ChainVerdict =
  | { readonly miner: Hotkey; readonly group: number; readonly status: ChainStatus; readonly root: Hash | null }
  | {
      readonly miner: Hotkey;
      readonly group: number;
      readonly status: "to-fetch";
      readonly root: Hash;
      readonly commit: ChainCommit;
      readonly reveal: ChainReveal;
    };

/** Earlier first: block, then extrinsic index, then hotkey (one extrinsic can carry the commits of several). */
export function compareCommits(a: CommitPlace, b: CommitPlace): number {
  return a.block - b.block || a.extrinsicIndex - b.extrinsicIndex || (a.hotkey < b.hotkey ? -1 : a.hotkey > b.hotkey ? 1 : 0);
}

export interface ChainVerdictsInput {
  readonly task: Task;
  readonly assignment: Assignment;
  /** Version root that the cycle trains. */
  readonly baseRoot: Hash;
  /** All commits read, of assigned miners and others: whoever commits first owns a root. */
  readonly commits: readonly ChainCommit[];
  readonly reveals: readonly ChainReveal[];
}

/** One verdict for each assigned miner, by group, then hotkey. */
export function chainVerdicts(input: ChainVerdictsInput): ChainVerdict[] {
  const { task, assignment, baseRoot } = input;
  const address = taskHash(task);
  const commits = standing(task, assignment.cycle, "commit", input.commits);
  const reveals = standing(task, assignment.cycle, "reveal", input.reveals);

  function matches(commit: ChainCommit, reveal: ChainReveal): boolean {
    const { cycle, group, artifactRoot, salt } = reveal.record;
    const preimage = { netuid: task.netuid, taskHash: address, cycle, group, hotkey: reveal.hotkey, baseRoot, artifactRoot, salt };
    return commit.record.group === group && commit.record.commitment === commitmentHash(preimage);
  }

  const owners = new Map<Hash, ChainCommit>();
  for (const commit of commits.values()) {
    const reveal = reveals.get(commit.hotkey);
    if (reveal === undefined || !matches(commit, reveal)) continue;
    const owner = owners.get(reveal.record.artifactRoot);
    if (owner === undefined || compareCommits(commit, owner) < 0) owners.set(reveal.record.artifactRoot, commit);
  }

  function verdict(miner: Hotkey, group: number): ChainVerdict {
    const commit = commits.get(miner);
    if (commit === undefined) return { miner, group, status: "not-committed", root: null };
    const reveal = reveals.get(miner);
    if (reveal === undefined) return { miner, group, status: "not-revealed", root: null };
    const root = reveal.record.artifactRoot;
    if (!matches(commit, reveal)) return { miner, group, status: "commitment-mismatch", root };
    if (reveal.record.group !== group) return { miner, group, status: "wrong-group", root };
    if (owners.get(root)?.hotkey !== miner) return { miner, group, status: "copy", root };
    return { miner, group, status: "to-fetch", root, commit, reveal };
  }

  return assignment.groups.flatMap((miners, group) => miners.map((miner) => verdict(miner, group)));
}

/** The records that name the cycle and were set in its window, by hotkey; of two by one hotkey the later stands. */
function standing<Entry extends ChainCommit | ChainReveal>(
  task: Task,
  cycle: number,
  phase: "commit" | "reveal",
  entries: readonly Entry[],
): Map<Hotkey, Entry> {
  const window = windowOf(task, cycle, phase);
  const result = new Map<Hotkey, Entry>();
  for (const entry of entries) {
    if (entry.record.kind !== phase || entry.record.cycle !== cycle || !inWindow(window, entry.block)) continue;
    const before = result.get(entry.hotkey);
    if (before === undefined || entry.block >= before.block) result.set(entry.hotkey, entry);
  }
  return result;
}
