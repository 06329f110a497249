/**
 * The revealed submissions of a cycle, fetched side by side, each over a connection of its own: whoever serves slowly takes nobody's turn, however many
 * do. There are no more than a subnet has miners, which the chain bounds, and each goes to the disk as it comes.
 */

import { ConnitoError } from "../../errors.ts";
import type { Source } from "../../exchange/exchange.ts";
import { fetchingBlocks } from "../../protocol/clock.ts";
import type { ReportEntry } from "../../protocol/report.ts";
import type { ChainVerdict } from "../../protocol/verdict.ts";
import { pause } from "../../waiting.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { inParallel } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { signalAt } from "../windows.ts";
import { fetchCandidate, hasSubmission, type Refusal } from "./candidates.ts";

/** Between the two times that whoever is not reached is asked. */
const againMilliseconds = 5000;

interface Fetching {
  readonly view: CycleView;
  /** The block by which all has to be measured. Fetching has half of the time until then, so that slow miners cannot take that from the others either. */
  readonly end: number;
  /** Where submissions may be had that their miners do not deliver. */
  readonly sources: readonly Source[] | undefined;
}

export interface Fetched {
  /** What refuses those that are not here, but for the late, by miner. */
  readonly refused: Map<string, ReportEntry["status"]>;
  /** Who did not deliver in time. */
  readonly late: readonly string[];
  /** When those came that were not here before, and how long fetching took in all. Milliseconds. */
  readonly arrivals: ReadonlyMap<string, number>;
  readonly took: number;
}

/** Has every revealed submission here afterwards that can be had in time, and says what became of the others. */
export async function fetchSubmissions(
  context: Context,
  membership: Membership,
  { view, end, sources }: Fetching,
  verdicts: readonly ChainVerdict[],
): Promise<Fetched> {
  const revealed = verdicts.filter((verdict) => verdict.status === "to-fetch");
  const { best } = await context.clock.now();
  const { signal, close } = signalAt(context, best + fetchingBlocks(end - best));
  const refused = new Map<string, ReportEntry["status"]>();
  const arrivals = new Map<string, number>();
  const late: string[] = [];
  const began = performance.now();
  try {
    await inParallel(revealed, revealed.length, async ({ miner, reveal }) => {
      const wasHere = await hasSubmission(context, reveal.record);
      const ask = () =>
        fetchCandidate({ ...context, signal }, membership, view, { hotkey: miner, reveal: reveal.record, otherSources: sources });
      const found = await orUnscored(context, miner, () => twice(ask, signal));
      if (found !== undefined && found.status === "unscored" && signal.aborted) late.push(miner);
      else if (found !== undefined) refused.set(miner, found.status);
      else if (!wasHere) arrivals.set(miner, performance.now() - began);
    });
  } finally {
    close();
  }
  return { refused, late, arrivals, took: performance.now() - began };
}

/**
 * What is said of the late: that they are unreachable, where a submission that is as it should be (`sound`) came in half the time; where all take long it is this
 * validator's line that is slow, and it says nothing of them.
 */
export function statusOfLate({ arrivals, took }: Fetched, sound: readonly string[]): "unreachable" | "unscored" {
  return sound.some((miner) => (arrivals.get(miner) ?? took) <= took / 2) ? "unreachable" : "unscored";
}

/** Asks again, a little later, whoever was not reached: by then it may be. */
async function twice(ask: () => Promise<Refusal | undefined>, signal: AbortSignal): Promise<Refusal | undefined> {
  const found = await ask();
  if (found?.status !== "unreachable") return found;
  await pause(againMilliseconds, signal);
  return ask();
}

/** Trouble of this machine is not the miner's: it says so, and the other validators' scores count. */
export async function orUnscored<T>(context: Context, miner: string, work: () => Promise<T>): Promise<T | { readonly status: "unscored" }> {
  try {
    return await work();
  } catch (error) {
    if (context.signal.aborted || !(error instanceof ConnitoError) || error.code === "disk-full") throw error;
    context.progress.note(`Cannot score ${miner}: ${error.message}`, { code: error.code });
    return { status: "unscored" };
  }
}
