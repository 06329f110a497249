/**
 * Own training (docs/protocol.md, section 8), where the task asks for it: whoever would be paid is measured on sequences from the beginning of its own walk,
 * and on those of some others of its group, who have not been given them.
 */
import { ConnitoError } from "../../errors.ts";
import {
  type BlockLosses,
  blocksOf,
  drawTurns,
  type LeastTraining,
  type Look,
  lookAgain,
  type OwnEffect,
  ownEffects,
  ownersOf,
  placesOfTurns,
  turnsOfLook,
} from "../../protocol/own-training.ts";
import { sequencesIn } from "../../protocol/training-share.ts";
import { createWalk, walkSeed } from "../../protocol/walk.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import type { Slice } from "../distribute/slice.ts";
import type { Membership } from "../membership.ts";
import { openTaskData, type TaskSequences } from "../task-data.ts";
import { trainingShares } from "../train/group-experts.ts";
import type { HeldOutSequence } from "./held-out.ts";
import type { MeasureLosses } from "./measure-losses.ts";
import type { Sketched } from "./near-copies.ts";

/** The sequences that a submission is looked at on: its miner's. */
export interface OwnSequences {
  of(submission: Pick<Sketched, "miner" | "group">, look: Look): Promise<HeldOutSequence[]>;
  close(): Promise<void>;
}

/** Shards come as they are asked for. */
export function openOwnSequences(
  context: Context,
  membership: Membership,
  { view, slice, seed, leastTraining }: { view: CycleView; slice: Slice; seed: string; leastTraining: LeastTraining },
): OwnSequences {
  const { task, taskHash } = membership;
  const { tokenizer } = slice.manifest;
  const domains: TaskSequences[] = [];
  return {
    async of({ miner, group }, look) {
      for (const { name, train } of task.data.domains.slice(domains.length))
        domains.push(await openTaskData(context, membership, { hash: train, tokenizer, what: `the training data of ${name}` }));
      const shares = trainingShares(membership, view, group, miner, domains);
      const walk = createWalk(shares, walkSeed(taskHash, view.cycle, miner));
      const sequences: HeldOutSequence[] = [];
      const places = placesOfTurns(turnsOfLook(drawTurns(seed, group, miner, leastTraining, shares.map(sequencesIn)), look));
      // By domain along the walk, so that each run is shuffled, and each shard opened, once.
      const order = [...places.entries()].sort(([, a], [, b]) => (a % domains.length) - (b % domains.length) || a - b);
      for (const [at, place] of order) {
        const { domain, index } = walk.at(place);
        sequences[at] = { domain, index, tokens: await (domains[domain] as TaskSequences).read(index) };
      }
      return sequences;
    },
    async close() {
      for (const domain of domains) await domain.close();
    },
  };
}

export interface OwnMeasuring {
  readonly own: OwnSequences;
  readonly losses: MeasureLosses;
  readonly isLate: (losses: number) => Promise<boolean>;
  /** Training data that cannot be had are this validator's trouble: of whom they are missing nothing is asked. */
  readonly onMissing: (error: ConnitoError) => void;
}

/**
 * The effects of a group's submissions that would be paid, in order of commits, by miner; without whoever is one of two, and those for whom there is no
 * time or no data.
 */
export async function measureOwnTraining(
  measuring: OwnMeasuring,
  submissions: readonly Sketched[],
): Promise<Map<string, OwnEffect | "non-finite">> {
  const looked: { readonly block: readonly Sketched[]; readonly first: BlockLosses }[] = [];
  // Peers that could not deliver are not asked again for each block.
  let isMissing = false;
  const onMissing = (error: ConnitoError) => {
    isMissing = true;
    measuring.onMissing(error);
  };
  const lookAt = (block: readonly Sketched[], look: Look) =>
    isMissing ? undefined : measureBlock({ ...measuring, onMissing }, block, look);
  for (const block of blocksOf(submissions)) {
    const first = await lookAt(block, 1);
    if (first === undefined) break;
    looked.push({ block, first });
  }
  const again = lookAgain(looked.map(({ first }) => ownEffects(first)));
  const effects = new Map<string, OwnEffect | "non-finite">();
  for (const [index, { block, first }] of looked.entries()) {
    const second = again[index] ? await lookAt(block, 2) : undefined;
    // What was to be seen of more sequences is not told from few.
    if (again[index] && second === undefined) continue;
    const both = second === undefined ? first : joined(first, second);
    const found = ownEffects(both);
    for (const [place, { miner }] of block.entries()) {
      const losses = Array.from(both.members[place] as ArrayLike<number>);
      effects.set(miner, losses.every(Number.isFinite) ? (found[place] as OwnEffect) : "non-finite");
    }
  }
  return effects;
}

/** A block's losses on the sequences of a look; nothing where there is no time or no data for it. */
async function measureBlock(
  { own, losses, isLate, onMissing }: OwnMeasuring,
  block: readonly Sketched[],
  look: Look,
): Promise<BlockLosses | undefined> {
  const sequences: HeldOutSequence[][] = [];
  try {
    for (const submission of block) {
      if (await isLate(0)) return undefined;
      sequences.push(await own.of(submission, look));
    }
  } catch (error) {
    if (!(error instanceof ConnitoError) || error.code === "disk-full") throw error;
    onMissing(error);
    return undefined;
  }
  const all = sequences.flat();
  if (all.length === 0) return { owners: [], base: [], members: block.map(() => []) };
  if (await isLate(all.length * (1 + block.length))) return undefined;
  const { base, candidates } = await losses(
    all,
    block.map(({ deltas }) => deltas),
  );
  return { owners: ownersOf(sequences.map(({ length }) => length)), base, members: candidates };
}

function joined(first: BlockLosses, second: BlockLosses): BlockLosses {
  const both = (a: ArrayLike<number>, b: ArrayLike<number>) => [...Array.from(a), ...Array.from(b)];
  return {
    owners: [...first.owners, ...second.owners],
    base: both(first.base, second.base),
    members: first.members.map((losses, member) => both(losses, second.members[member] as ArrayLike<number>)),
  };
}
