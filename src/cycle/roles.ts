/**
 * Who does what in a cycle. A role is a list of steps in the order in which they happen; each step knows its own window and waits for
 * it. The same functions stand behind the single commands.
 */

import { commit } from "../steps/commit/commit.ts";
import { reveal } from "../steps/commit/reveal.ts";
import type { Context } from "../steps/context.ts";
import { announce } from "../steps/distribute/announce.ts";
import { assign } from "../steps/distribute/assign.ts";
import { mirrorTask } from "../steps/distribute/mirror.ts";
import { ready } from "../steps/distribute/ready.ts";
import { slice, sliceForCycle } from "../steps/distribute/slice.ts";
import { measure } from "../steps/evaluate/measure.ts";
import { merge } from "../steps/evaluate/merge.ts";
import { score } from "../steps/evaluate/score.ts";
import { setWeights } from "../steps/evaluate/set-weights.ts";
import type { Membership } from "../steps/membership.ts";
import { train } from "../steps/train/train.ts";

export interface CycleStep {
  readonly name: string;
  /** Does the step in its window of the cycle, once; its result is a plain object. */
  readonly run: (context: Context, membership: Membership, input: { readonly cycle: number; readonly wait: true }) => Promise<object>;
}

export const roleNames = ["owner", "validator", "miner"] as const;
export type Role = (typeof roleNames)[number];

/** Done once before the first cycle begins, so that the cycle does not wait for it; the steps do it again where it did not come to an end. */
export const preparations: Readonly<Partial<Record<Role, (context: Context, membership: Membership) => Promise<object>>>> = {
  validator: (context, membership) => slice(context, membership, { root: membership.task.model.root, group: "whole" }),
};

export const roles: Readonly<Record<Role, readonly CycleStep[]>> = {
  owner: [
    { name: "measure", run: measure },
    // The version that this cycle's merge leads to, so that the last cycle is measured too.
    { name: "measure-result", run: (context, membership, { cycle, wait }) => measure(context, membership, { cycle: cycle + 1, wait }) },
  ],
  validator: [
    { name: "slice", run: sliceForCycle("whole") },
    { name: "announce", run: announce },
    { name: "mirror", run: mirrorTask },
    { name: "score", run: score },
    { name: "merge", run: merge },
    { name: "set-weights", run: setWeights },
  ],
  miner: [
    { name: "assign", run: assign },
    { name: "ready", run: ready },
    { name: "slice", run: sliceForCycle("assigned") },
    { name: "train", run: train },
    { name: "commit", run: commit },
    { name: "reveal", run: reveal },
  ],
};
