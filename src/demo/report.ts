/** What came of the demo: read at the end from the chain, and from what owner and validators have written down. */

import { join } from "node:path";
import { connectChain } from "../chain/client.ts";
import { ConnitoError } from "../errors.ts";
import type { CreateTaskResult } from "../steps/distribute/create-task.ts";
import type { Measurement } from "../steps/evaluate/measure.ts";
import type { MergeResult } from "../steps/evaluate/merge.ts";
import type { StoredSubmission } from "../steps/train/submissions.ts";
import { readJson } from "../workspace/files.ts";
import { layoutOf } from "../workspace/layout.ts";
import { netuid, participants } from "./settings.ts";

export interface DemoVerdict {
  readonly miner: string;
  readonly group: number;
  readonly status: string;
  /** Micro-nats per token. */
  readonly score: number;
}

export interface DemoCycle {
  readonly cycle: number;
  /** Root of the version that the cycle led to, as the chain has it. */
  readonly canonicalRoot: string;
  /** The root that each validator computed, by hotkey. */
  readonly validatorRoots: Readonly<Record<string, string>>;
  /** Nats per token of that version, by domain. */
  readonly heldOutLoss: Readonly<Record<string, number>>;
  readonly verdicts: readonly DemoVerdict[];
  /** What the miners that trained did with the train window. */
  readonly training: readonly DemoTraining[];
  /** Hotkeys whose work is in the version. */
  readonly accepted: readonly string[];
}

export interface DemoTraining {
  readonly miner: string;
  readonly steps: number;
  /** Seconds spent in training steps, of the seconds that the window was open. */
  readonly seconds: number;
  readonly windowSeconds: number;
  /** Their ratio. */
  readonly utilisation: number;
}

export interface DemoReport {
  readonly task: string;
  /** Bytes of each group's slice of the base. */
  readonly slices: CreateTaskResult["slices"];
  readonly baseRoot: string;
  readonly baseLoss: Readonly<Record<string, number>>;
  readonly cycles: readonly DemoCycle[];
  /** Weight on the chain by uid: the mean over validators, the largest being 65,535. */
  readonly weights: Readonly<Record<string, number>>;
  /** Which participant each hotkey and uid is. */
  readonly participants: readonly { readonly name: string; readonly hotkey: string; readonly uid: number }[];
  readonly seconds: number;
}

/**
 * What a demo that came to its end did not show all the same: validators with different versions, versions that all missed their vote, or none at all.
 * The report stands; a script must not take it for a success.
 */
export function shortfallOf({ baseRoot, cycles }: Pick<DemoReport, "baseRoot" | "cycles">): ConnitoError | undefined {
  const disagreed = cycles.filter(({ validatorRoots }) => new Set(Object.values(validatorRoots)).size > 1);
  if (disagreed.length > 0) {
    return new ConnitoError(`Validators computed different versions in cycle ${disagreed.map(({ cycle }) => cycle).join(", ")}.`, {
      code: "demo-disagreement",
      exit: "verification",
      hint: "Honest validators have the same bytes: run it again with --directory, and report it with the logs of both validators.",
    });
  }
  if (cycles.some(({ canonicalRoot }) => canonicalRoot !== baseRoot)) return undefined;
  if (cycles.some(({ validatorRoots }) => Object.values(validatorRoots).some((root) => root !== baseRoot))) {
    return new ConnitoError("No version was adopted: what validators computed missed the vote in every cycle.", {
      code: "demo-not-adopted",
      exit: "deadlineMissed",
      retryable: true,
      hint: "Run it again with less beside it: the demo wants two cores, and its blocks do not wait for them. --directory keeps the validators' logs.",
    });
  }
  return new ConnitoError("No version was made: nothing that was submitted passed the gate.", {
    code: "demo-nothing-merged",
    exit: "deadlineMissed",
    retryable: true,
    hint: "Run it again with less beside it, or with more --cycles: miners came to too few steps to be told from luck.",
  });
}

export interface ReportSource {
  readonly directory: string;
  readonly network: string;
  /** Hotkeys by participant. */
  readonly wallets: ReadonlyMap<string, { readonly address: string }>;
  readonly cycles: number;
  readonly task: string;
  readonly signal: AbortSignal;
}

/** @throws demo-incomplete when a cycle's result is missing */
export async function collectReport({
  directory,
  network,
  wallets,
  cycles,
  task,
  signal,
}: ReportSource): Promise<Omit<DemoReport, "seconds" | "slices">> {
  const chain = await connectChain({ endpoints: [network], signal });
  try {
    const { hash } = await chain.finalizedHead();
    const neurons = await chain.neurons(netuid, hash);
    const uids = new Map(neurons.map((neuron) => [neuron.hotkey, neuron.uid]));
    const validators = participants.filter(({ role }) => role === "validator").map(({ name }) => name);
    const base = await measurement(directory, 0);
    const list: DemoCycle[] = [];
    for (let cycle = 0; cycle < cycles; cycle++) list.push(await describeCycle(directory, cycle, validators, wallets));
    return {
      task,
      baseRoot: base.root,
      baseLoss: base.loss,
      cycles: list,
      weights: meanWeights(
        await chain.weights(netuid, hash),
        neurons.map((neuron) => neuron.uid),
      ),
      participants: participants.map(({ name }) => {
        const hotkey = wallets.get(name)?.address ?? "";
        return { name, hotkey, uid: uids.get(hotkey) ?? -1 };
      }),
    };
  } finally {
    chain.disconnect();
  }
}

async function describeCycle(
  directory: string,
  cycle: number,
  validators: readonly string[],
  wallets: ReportSource["wallets"],
): Promise<DemoCycle> {
  const results = new Map<string, MergeResult>();
  for (const name of validators) {
    const merged = await readJson<MergeResult>(stateOf(directory, name).cycle(cycle, "merge.json"));
    if (merged !== undefined) results.set(wallets.get(name)?.address ?? name, merged);
  }
  const [first] = results.values();
  if (first === undefined) throw incomplete(`no validator merged cycle ${cycle}`);
  const after = await measurement(directory, cycle + 1);
  return {
    cycle,
    canonicalRoot: after.root,
    validatorRoots: Object.fromEntries([...results].map(([hotkey, { root }]) => [hotkey, root])),
    heldOutLoss: after.loss,
    verdicts: first.verdicts.map(({ miner, group, status, score }) => ({ miner, group, status, score })),
    training: await trainingOf(directory, cycle, wallets),
    accepted: first.merged.flatMap(({ contributors }) => contributors),
  };
}

async function trainingOf(directory: string, cycle: number, wallets: ReportSource["wallets"]): Promise<DemoTraining[]> {
  const list: DemoTraining[] = [];
  for (const { name, role, attack } of participants) {
    if (role !== "miner" || attack !== undefined) continue;
    const made = await readJson<StoredSubmission>(stateOf(directory, name).cycle(cycle, "submission.json"));
    if (made?.timing === undefined) continue;
    const { training: seconds, window: windowSeconds } = made.timing;
    list.push({
      miner: wallets.get(name)?.address ?? name,
      steps: made.steps,
      seconds,
      windowSeconds,
      utilisation: seconds / windowSeconds,
    });
  }
  return list;
}

async function measurement(directory: string, cycle: number): Promise<Measurement> {
  const found = await readJson<Measurement>(stateOf(directory, "owner").cycle(cycle, "measurement.json"));
  if (found === undefined) throw incomplete(`the owner did not measure the version that cycle ${cycle} trains`);
  return found;
}

function stateOf(directory: string, name: string) {
  return layoutOf(join(directory, "state", name));
}

function meanWeights(
  rows: ReadonlyMap<number, readonly { uid: number; weight: number }[]>,
  uids: readonly number[],
): Record<string, number> {
  const sums = new Map(uids.map((uid) => [uid, 0]));
  for (const row of rows.values()) for (const { uid, weight } of row) sums.set(uid, (sums.get(uid) ?? 0) + weight);
  return Object.fromEntries([...sums].map(([uid, sum]) => [String(uid), rows.size === 0 ? 0 : Math.round(sum / rows.size)]));
}

function incomplete(reason: string): ConnitoError {
  return new ConnitoError(`The demo did not come to its end: ${reason}.`, {
    code: "demo-incomplete",
    exit: "unexpected",
    hint: "Run it again with --directory to keep the logs, and look at those of owner and validators.",
  });
}
