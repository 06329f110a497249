/**
 * The demo's two attackers: real participants with their own hotkey and process, whose training is something else. They see what a
 * real attacker could see; the copier even more, since it reads its victims' disks.
 */

import { copyFile } from "node:fs/promises";
import type { CycleStep } from "../cycle/roles.ts";
import { roles } from "../cycle/roles.ts";
import { ConnitoError } from "../errors.ts";
import { makeDirectory } from "../files/replacing.ts";
import { windowOf } from "../protocol/clock.ts";
import { hashFields, u32 } from "../protocol/hash.ts";
import { publicKeyOf } from "../protocol/hotkey.ts";
import { stream } from "../protocol/random.ts";
import { commit } from "../steps/commit/commit.ts";
import type { Context } from "../steps/context.ts";
import { assignedGroup, viewCycle } from "../steps/cycle-view.ts";
import type { Membership } from "../steps/membership.ts";
import { openGroupExperts } from "../steps/train/group-experts.ts";
import { type StoredSubmission, storeSubmission, submissionOf } from "../steps/train/submissions.ts";
import { submitDeltas } from "../steps/train/submit.ts";
import { pause } from "../waiting.ts";
import { openWorkspace } from "../workspace/workspace.ts";

export const attacks = ["copy", "noise"] as const;
export type Attack = (typeof attacks)[number];

/** A miner's steps with the attack in place of honest work. `victims` are state directories that the copier can read. */
export function attackerSteps(attack: Attack, victims: readonly string[]): readonly CycleStep[] {
  const replaced: Readonly<Record<string, CycleStep["run"]>> =
    attack === "noise"
      ? { train: (context, membership, { cycle }) => submitNoise(context, membership, cycle) }
      : {
          train: (context, membership, { cycle }) => stealSubmission(context, membership, cycle, victims),
          commit: async (context, membership, input) => {
            await afterVictim(context, membership, input.cycle);
            return commit(context, membership, input);
          },
        };
  return roles.miner.map((step) => ({ ...step, run: replaced[step.name] ?? step.run }));
}

/** Deltas drawn from a normal distribution, a thousandth of the weights' own size: small enough not to stand out. */
async function submitNoise(context: Context, membership: Membership, cycle: number): Promise<StoredSubmission> {
  const done = await submissionOf(context.workspace, cycle);
  if (done !== undefined) return done;
  const view = await viewCycle(context, membership, cycle);
  const { group, selected, weights } = await openGroupExperts(context, membership, view);
  const random = stream(hashFields("connito/demo-noise/1", u32(cycle), publicKeyOf(context.signer.address)));
  const uniform = () => (random.uniform(2 ** 31) + 1) / 2 ** 31;
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  const deltas = selected.map((piece) => {
    const base = weights.get(piece.name) as Float32Array;
    const size = Math.sqrt(base.reduce((sum, value) => sum + value * value, 0) / base.length) / 1000;
    return { piece, delta: base.map(() => size * normal()) };
  });
  return submitDeltas(context, membership, { cycle, group, base: view.base, steps: 0, tokens: 0, deltas });
}

/** Waits for a miner of the same group to finish training, and takes its file. */
async function stealSubmission(
  context: Context,
  membership: Membership,
  cycle: number,
  victims: readonly string[],
): Promise<StoredSubmission> {
  const done = await submissionOf(context.workspace, cycle);
  if (done !== undefined) return done;
  const view = await viewCycle(context, membership, cycle);
  const group = assignedGroup(view, context.signer.address);
  const { last } = windowOf(membership.task, cycle, "commit");
  while ((await context.clock.now()).best < last) {
    for (const directory of victims) {
      const victim = await openWorkspace(directory, { lock: false }).catch(() => undefined);
      const stolen = victim && (await submissionOf(victim, cycle));
      if (victim !== undefined && stolen?.group === group) {
        await makeDirectory(context.workspace.layout.submissions);
        await copyFile(victim.layout.submission(stolen.root), context.workspace.layout.submission(stolen.root));
        await storeSubmission(context.workspace, stolen);
        await victim.close();
        return stolen;
      }
      await victim?.close();
    }
    await pause(250, context.signal);
  }
  throw new ConnitoError(`Nobody else trained group ${group} in cycle ${cycle}.`, {
    code: "nothing-to-commit",
    exit: "invalidInput",
    hint: "The copier tries again in the next cycle.",
  });
}

/** The copier has to come after its victim: before, it would own the root. It waits two blocks into the window. */
async function afterVictim(context: Context, membership: Membership, cycle: number): Promise<void> {
  const { first } = windowOf(membership.task, cycle, "commit");
  await context.clock.until(({ best }) => best >= first + 1, context.signal);
}
