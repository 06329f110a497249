/** The held-out sequences of a task, and which of them a cycle is judged by. */

import { ConnitoError } from "../../errors.ts";
import { windowOf } from "../../protocol/clock.ts";
import { type DrawnSequence, drawOpenSequences, drawSequences } from "../../protocol/held-out.ts";
import { seed } from "../../protocol/random.ts";
import { participantsAt } from "../chain-records.ts";
import type { Context } from "../context.ts";
import type { Slice } from "../distribute/slice.ts";
import type { Membership } from "../membership.ts";
import { findTokenData, openTaskData, provideShards, provideTokenData, type TaskSequences } from "../task-data.ts";
import type { KnownDraw } from "./evidence.ts";

/** A sequence drawn for evaluation, with its place in the task's domains. */
export interface HeldOutSequence extends DrawnSequence {
  readonly tokens: Int32Array;
}

/** A task's held-out data, all of it on this machine. */
export interface HeldOut {
  /** Sequences of each domain, in the task's order. */
  readonly available: readonly number[];
  /** The tokens of some of them, in the order given. */
  read(drawn: readonly DrawnSequence[]): Promise<HeldOutSequence[]>;
}

/** Brings the held-out data here. @throws held-out-missing, token-data-mismatch */
export async function provideHeldOut(context: Context, membership: Membership, { manifest }: Slice): Promise<HeldOut> {
  const { tokenizer } = manifest;
  const open: (() => Promise<TaskSequences>)[] = [];
  const available: number[] = [];
  for (const { name, heldOut: hash } of membership.task.data.domains) {
    const what = `the held-out data of ${name}`;
    try {
      const opened = await openTaskData(context, membership, { hash, tokenizer, what });
      await opened.close();
      await provideShards(context, membership, opened.data, what);
      available.push(opened.data.sequences);
    } catch (cause) {
      if (context.signal.aborted || (cause instanceof ConnitoError && !cause.retryable && cause.code.startsWith("token-data"))) throw cause;
      throw heldOutMissing(name, hash, cause);
    }
    open.push(() => openTaskData(context, membership, { hash, tokenizer, what }));
  }
  return {
    available,
    async read(drawn) {
      const sequences = new Map<DrawnSequence, Int32Array>();
      for (const [domain, openDomain] of open.entries()) {
        const wanted = drawn.filter((sequence) => sequence.domain === domain).sort((a, b) => a.index - b.index);
        if (wanted.length === 0) continue;
        const reader = await openDomain();
        try {
          // Rising, so that each shard is opened and checked once.
          for (const sequence of wanted) sequences.set(sequence, await reader.read(sequence.index));
        } finally {
          await reader.close();
        }
      }
      return drawn.map((sequence) => ({ ...sequence, tokens: sequences.get(sequence) as Int32Array }));
    },
  };
}

function heldOutMissing(name: string, hash: string, cause: unknown): ConnitoError {
  return new ConnitoError(`The held-out data of domain ${name} (${hash}) are not here and no peer delivers them.`, {
    code: "held-out-missing",
    exit: "network",
    retryable: true,
    hint: "Held-out data are served to validators only, by the owner and other validators. Check the hotkey's permit, or name a peer with --peer.",
    cause,
  });
}

/** The sequences of one cycle: what each stage of scoring adds, what the gate judges by, and what miners may see afterwards. */
export interface CycleSequences {
  readonly stages: readonly (readonly HeldOutSequence[])[];
  readonly gate: readonly HeldOutSequence[];
  readonly open: readonly HeldOutSequence[];
  /** What they were drawn with. */
  readonly seed: string;
}

/** What a cycle's sequences, scorers and sketches are drawn with, known once the reveal window is final. */
export async function evaluationSeed(context: Context, { task, taskHash }: Membership, cycle: number): Promise<string> {
  return seed("evaluation", taskHash, cycle, await context.chain.blockHash(windowOf(task, cycle, "reveal").last));
}

/**
 * What this reader knows of a cycle's draw. The documents that say how large held-out data are go to validators alone: whoever is none and does not have them
 * holds evidence against what some size would give. A validator to whom they do not come has trouble that passes, and does not look less closely for it.
 * Errors: token-data-invalid, the exchange's, the workspace's.
 */
export async function knownDraw(context: Context, membership: Membership, cycle: number): Promise<KnownDraw> {
  const { task } = membership;
  const seed = await evaluationSeed(context, membership, cycle);
  const { finalized } = await context.clock.now();
  const { validators } = await participantsAt(context.chain, context.netuid, task, finalized.hash);
  const isValidator = validators.some(({ hotkey }) => hotkey === context.signer.address);
  const available: number[] = [];
  for (const { name, heldOut } of task.data.domains) {
    const data = await (isValidator
      ? provideTokenData(context, membership, heldOut, `the held-out data of ${name}`)
      : findTokenData(context, heldOut));
    if (data === undefined) return { task, seed, available: undefined };
    available.push(data.sequences);
  }
  return { task, seed, available };
}

/** Draws the cycle's sequences. @throws held-out-missing, held-out-too-short */
export async function cycleSequences(
  context: Context,
  membership: Membership,
  { cycle, slice }: { readonly cycle: number; readonly slice: Slice },
): Promise<CycleSequences> {
  const { task } = membership;
  const { available, read } = await provideHeldOut(context, membership, slice);
  const draw = { task, seed: await evaluationSeed(context, membership, cycle), available };
  const { stages, gate } = drawSequences(draw);
  const open = drawOpenSequences(draw);
  const all = await read([...stages.flat(), ...gate, ...open]);
  const take = (count: number) => all.splice(0, count);
  return { stages: stages.map((stage) => take(stage.length)), gate: take(gate.length), open: take(open.length), seed: draw.seed };
}
