/** What miners may try: honest work, and each way of being paid without it, or of harming the model. */
import { readFile, truncate, writeFile } from "node:fs/promises";
import { roles } from "../../cycle/roles.ts";
import { ConnitoError } from "../../errors.ts";
import { artifactRootOfFile } from "../../model/submission.ts";
import { windowOf } from "../../protocol/clock.ts";
import { commitmentHash } from "../../protocol/commitment.ts";
import { groupOfMiner } from "../../protocol/experts/assignment.ts";
import { toHex } from "../../protocol/hash.ts";
import { encodeRecord } from "../../protocol/records.ts";
import type { Task } from "../../protocol/task.ts";
import { recordsAt } from "../../steps/chain-records.ts";
import { commit, saltName } from "../../steps/commit/commit.ts";
import { reveal } from "../../steps/commit/reveal.ts";
import type { Context } from "../../steps/context.ts";
import { viewCycle } from "../../steps/cycle-view.ts";
import type { Membership } from "../../steps/membership.ts";
import { sendRecord } from "../../steps/send-record.ts";
import { storeSubmission, submissionOf, submissionPath } from "../../steps/train/submissions.ts";
import { train } from "../../steps/train/train.ts";
import { changed, type Delta, deltasOf, mixed, noise, randomOf, sizeOf, submit, workOf } from "./deltas.ts";
import { type RunStep, replacing, type Strategy, type StrategyScene } from "./strategy.ts";

const training =
  ({ trainingSteps }: StrategyScene): RunStep =>
  (context, membership, input) =>
    train(context, membership, { ...input, maximumSteps: trainingSteps });

export const honest: Strategy = {
  name: "honest",
  role: "miner",
  summary: "trains its group's experts",
  honest: true,
  steps: (scene) => replacing(roles.miner, { train: training(scene) }),
};

/** The task as it is to whoever climbs where others descend. */
function uphill(task: Task): Task {
  return { ...task, inner: { ...task.inner, learningRate: -task.inner.learningRate } };
}

type Change = (delta: Delta, context: Context, cycle: number) => Delta;

/** Trains honestly, and changes the result. */
function afterTraining(name: string, summary: string, change: Change, trained = true): Strategy {
  return {
    name,
    role: "miner",
    summary,
    steps: (scene) =>
      replacing(roles.miner, {
        train: async (context, membership, input) => {
          await train(context, membership, { ...input, maximumSteps: trained ? scene.trainingSteps : 1 });
          const work = await workOf(context, membership, input.cycle);
          const own = (await deltasOf(context, membership, input.cycle, work)) as Delta;
          return submit(context, membership, input.cycle, work, change(own, context, input.cycle));
        },
      }),
  };
}

/** So many honest miners are looked into, the first of the cast: enough that one of them is of the thief's group. */
const leaks = 16;

/** Takes what others of its group have trained, before they reveal it, and commits after them. */
function fromLeak(name: string, summary: string, make: (stolen: readonly Delta[], context: Context, cycle: number) => Delta): Strategy {
  return {
    name,
    role: "miner",
    summary,
    leaks,
    steps: (scene) =>
      replacing(roles.miner, {
        train: async (context, membership, { cycle }) => {
          const { first } = windowOf(membership.task, cycle, "commit");
          await context.clock.until(({ best }) => best >= first, context.signal);
          const work = await workOf(context, membership, cycle);
          const stolen: Delta[] = [];
          for (const leak of scene.leaks) {
            const delta = await deltasOf(leak, membership, cycle, work);
            if (delta !== undefined) stolen.push(delta);
          }
          if (stolen.length === 0) throw nothing(`nobody that is looked into has trained group ${work.group} in cycle ${cycle}`);
          return submit(context, membership, cycle, work, make(stolen, context, cycle));
        },
        commit: async (context, membership, input) => {
          const { first } = windowOf(membership.task, input.cycle, "commit");
          await context.clock.until(({ best }) => best >= first + 1, context.signal);
          return commit(context, membership, input);
        },
      }),
  };
}

/**
 * One training for several hotkeys: the first of the ring that is in a group trains; when it has, each of them submits that under noise of its own, and nobody
 * commits it as it is.
 */
const ring: Strategy = {
  name: "ring",
  role: "miner",
  summary: "one training, submitted by all of its kind in a group, each with half its size of noise",
  leaks: "own kind",
  steps: (scene) => {
    const leaderOf = async (context: Context, membership: Membership, cycle: number): Promise<Context> => {
      const { assignment } = await viewCycle(context, membership, cycle);
      const group = groupOfMiner(assignment, context.signer.address);
      return scene.leaks.find(({ signer }) => groupOfMiner(assignment, signer.address) === group) ?? context;
    };
    const submitNoisy = async (context: Context, membership: Membership, cycle: number, from: Context) => {
      const work = await workOf(context, membership, cycle);
      const trained = await deltasOf(from, membership, cycle, work);
      if (trained === undefined) throw nothing(`the ring has not trained group ${work.group} in cycle ${cycle}`);
      return submit(context, membership, cycle, work, noisy(trained, 0.5, context, cycle));
    };
    return replacing(roles.miner, {
      train: async (context, membership, input) => {
        const leader = await leaderOf(context, membership, input.cycle);
        if (leader === context) return training(scene)(context, membership, input);
        const { first } = windowOf(membership.task, input.cycle, "commit");
        await context.clock.until(({ best }) => best >= first, context.signal);
        return submitNoisy(context, membership, input.cycle, leader);
      },
      commit: async (context, membership, input) => {
        const { first } = windowOf(membership.task, input.cycle, "commit");
        // The others have read what it trained by then.
        await context.clock.until(({ best }) => best >= first + 2, context.signal);
        if ((await leaderOf(context, membership, input.cycle)) === context) await submitNoisy(context, membership, input.cycle, context);
        return commit(context, membership, input);
      },
    });
  },
};

function nothing(message: string): ConnitoError {
  return new ConnitoError(message, {
    code: "nothing-to-commit",
    exit: "invalidInput",
    hint: "The strategy tries again in the next cycle.",
  });
}

/** Noise as large as a share of the delta itself. */
const noisy = (delta: Delta, share: number, context: Context, cycle: number): Delta => {
  const random = randomOf(context, cycle, "noise");
  const size = sizeOf(delta) * share;
  return changed(delta, (value) => value + noise(random, size));
};

/** Trains honestly, and changes the bytes of the file. */
function forged(name: string, summary: string, forge: (file: string) => Promise<void>): Strategy {
  return {
    name,
    role: "miner",
    summary,
    steps: (scene) =>
      replacing(roles.miner, {
        train: async (context, membership, input) => {
          const result = await training(scene)(context, membership, input);
          const submission = await submissionOf(context.workspace, input.cycle);
          if (submission === undefined) return result;
          const from = submissionPath(context.workspace, submission.root);
          await forge(from);
          const { root, bytes } = await artifactRootOfFile(from);
          await writeFile(submissionPath(context.workspace, root), await readFile(from));
          await storeSubmission(context.workspace, { ...submission, root, bytes });
          return result;
        },
      }),
  };
}

/** Fills the last bytes of the file, which are values, with a pattern. */
async function overwriteEnd(file: string, pattern: readonly number[], count: number): Promise<void> {
  const bytes = await readFile(file);
  for (let at = 0; at < count * pattern.length; at++)
    bytes[bytes.length - 1 - at] = pattern[pattern.length - 1 - (at % pattern.length)] as number;
  await writeFile(file, bytes);
}

/** Repeats the record of another as its own, byte by byte. */
const echo =
  (kind: "commit" | "reveal"): RunStep =>
  async (context, membership, { cycle }) => {
    const { first, last } = windowOf(membership.task, cycle, kind);
    const find = async () => {
      const head = await context.chain.bestHead();
      const records = await recordsAt(context.chain, context.netuid, head.hash);
      return records.find(({ hotkey, record }) => hotkey !== context.signer.address && record.kind === kind && record.cycle === cycle);
    };
    for (;;) {
      await context.clock.until(({ best }) => best >= first, context.signal);
      const found = await find();
      const { best } = await context.clock.now();
      if (found !== undefined) {
        const record = encodeRecord(found.record);
        return context.chain.setCommitment(context.signer, context.netuid, record, { until: last, signal: context.signal });
      }
      if (best >= last) throw nothing(`nobody sent a ${kind} to repeat in cycle ${cycle}`);
      await context.clock.until((heads) => heads.best > best, context.signal);
    }
  };

export const minerAttacks: readonly Strategy[] = [
  fromLeak("byte-copy", "another's file, committed later", ([first]) => first as Delta),
  fromLeak("noisy-copy", "another's delta with a tenth of noise", ([first], context, cycle) => noisy(first as Delta, 0.1, context, cycle)),
  fromLeak("hidden-copy", "another's delta with half its size of noise", ([first], context, cycle) =>
    noisy(first as Delta, 0.5, context, cycle),
  ),
  fromLeak("scaled-copy", "another's delta times 1.1", ([first]) => changed(first as Delta, (value) => 1.1 * value)),
  fromLeak("mixture", "the mean of two others' deltas", ([first, second = first]) => mixed(first as Delta, 0.5, second as Delta, 0.5)),
  {
    name: "trained-on-copy",
    role: "miner",
    summary: "another's delta, with a fifth of its own training",
    leaks,
    steps: (scene) => {
      const steal = fromLeak("", "", ([first]) => first as Delta).steps(scene);
      const run = steal.find(({ name }) => name === "train")?.run as RunStep;
      return replacing(steal, {
        train: async (context, membership, input) => {
          await train(context, membership, { ...input, maximumSteps: scene.trainingSteps });
          const work = await workOf(context, membership, input.cycle);
          const own = (await deltasOf(context, membership, input.cycle, work)) as Delta;
          // Where there is nothing to take, its own training alone would be honest work.
          await submit(
            context,
            membership,
            input.cycle,
            work,
            changed(own, () => 0),
          );
          await run(context, membership, input);
          const stolen = (await deltasOf(context, membership, input.cycle, work)) as Delta;
          return submit(context, membership, input.cycle, work, mixed(stolen, 1, own, 0.2));
        },
      });
    },
  },
  {
    name: "echo",
    role: "miner",
    summary: "repeats another's records byte by byte",
    steps: (scene) => replacing(honest.steps(scene), { commit: echo("commit"), reveal: echo("reveal") }),
  },
  {
    name: "wrong-group",
    role: "miner",
    summary: "commits its work to a group that it was not given",
    steps: (scene) =>
      replacing(honest.steps(scene), {
        commit: async (context, membership, { cycle }) => {
          const { task, taskHash } = membership;
          const view = await viewCycle(context, membership, cycle);
          const submission = await submissionOf(context.workspace, cycle);
          if (submission === undefined) throw nothing(`there is nothing to commit in cycle ${cycle}`);
          const group = (submission.group + 1) % task.experts.groups;
          await storeSubmission(context.workspace, { ...submission, group });
          const salt = await context.workspace.secret(saltName(cycle), () => Uint8Array.from({ length: 32 }, () => cycle));
          const named = { netuid: context.netuid, taskHash, cycle, group, hotkey: context.signer.address };
          const commitment = commitmentHash({ ...named, baseRoot: view.base, artifactRoot: submission.root, salt: toHex(salt) });
          const record = encodeRecord({ kind: "commit", cycle, group, commitment });
          const { first, last } = windowOf(task, cycle, "commit");
          await context.clock.until(({ best }) => best >= first, context.signal);
          const prepare = async () => ({ record, notes: { root: submission.root } });
          return sendRecord(context, { key: `commit/${cycle}`, prepare, until: last });
        },
      }),
  },
  {
    name: "replay",
    role: "miner",
    summary: "what another of its group has revealed in the cycle before, made anew for this one",
    leaks,
    steps: (scene) =>
      replacing(roles.miner, {
        train: async (context, membership, { cycle }) => {
          const work = await workOf(context, membership, cycle);
          for (const other of scene.leaks) {
            const before = cycle === 0 ? undefined : await deltasOf(other, membership, cycle - 1, work);
            if (before !== undefined) return submit(context, membership, cycle, work, before);
          }
          throw nothing(`nobody that it looks into has revealed work of group ${work.group} before cycle ${cycle}`);
        },
      }),
  },
  afterTraining("zero", "a delta of zeros", (delta) => changed(delta, () => 0), false),
  afterTraining("negligible", "a millionth of one training step", (delta) => changed(delta, (value) => value * 1e-6), false),
  afterTraining(
    "noise",
    "random values instead of training",
    (delta, context, cycle) => {
      const random = randomOf(context, cycle, "noise");
      return changed(delta, () => noise(random, 1e-4));
    },
    false,
  ),
  {
    name: "poison",
    role: "miner",
    summary: "trains uphill, towards what makes the model worse",
    steps: (scene) =>
      replacing(roles.miner, {
        train: (context, membership, input) => training(scene)(context, { ...membership, task: uphill(membership.task) }, input),
      }),
  },
  afterTraining("negated", "the opposite of what it learned", (delta) => changed(delta, (value) => -value)),
  afterTraining("huge", "its delta times fifty", (delta) => changed(delta, (value) => 50 * value)),
  afterTraining("overshoot", "its delta times three, together with others of its kind", (delta) => changed(delta, (value) => 3 * value)),
  afterTraining("overflow", "finite values that overflow", (delta) => changed(delta, () => 3e38)),
  forged("not-a-number", "NaN in its file", (file) => overwriteEnd(file, [0xc0, 0x7f], 8)),
  forged("truncated", "half of a file", async (file) => truncate(file, Math.floor((await readFile(file)).length / 2))),
  {
    name: "withheld",
    role: "miner",
    summary: "commits, and never reveals",
    steps: (scene) => replacing(honest.steps(scene), { reveal: async (_context, _membership, { cycle }) => ({ cycle }) }),
  },
  {
    name: "vanishing",
    role: "miner",
    summary: "reveals, and serves a damaged file",
    steps: (scene) =>
      replacing(honest.steps(scene), {
        reveal: async (context, membership, input) => {
          const result = await reveal(context, membership, input);
          const published = context.locator?.slice("file:".length);
          if (published !== undefined) await truncate(`${published}/submissions/${result.root}`, 100);
          return result;
        },
      }),
  },
  ring,
  fromLeak("sybil", "a second hotkey for work that another of its group has done, with a twentieth of noise", ([first], context, cycle) =>
    noisy(first as Delta, 0.05, context, cycle),
  ),
];
