/**
 * When to stop training. The train window is counted in blocks, and its end is the end of training; but what was trained is worth nothing unless
 * its commitment stands on the chain in time. So the pace of the blocks is measured, and where the commit window is too short for what comes
 * after training, training ends earlier: before the first step that would leave too little time.
 */
import type { Window } from "../../protocol/clock.ts";
import type { ChainClock } from "../clock.ts";

/** Blocks that a commitment is given to be included. */
const inclusionBlocks = 2;

export interface Schedule {
  /** How much of the window is over, in blocks: 0 before its first, 1 with its last. */
  share(): number;
  /** Seconds until the window opens; undefined before the pace is known. */
  secondsToOpening(): number | undefined;
  /** Seconds until the window is over; undefined before the pace is known. */
  secondsLeft(): number | undefined;
  /** Whether after `seconds` more there would still be time to commit; always, before the pace is known. False once the window is over. */
  allows(seconds: number): boolean;
  /**
   * Seconds from when the window opened (also where nobody looked then, by the pace) until now; to its end, where that is still to come: a window
   * that is left early counts as a whole.
   */
  windowSeconds(): number;
  /** Ends the watching. */
  close(): void;
}

export interface Windows {
  readonly train: Window;
  readonly commit: Window;
}

/** Follows the head from now on. `now` gives seconds. */
export async function followSchedule(
  clock: Pick<ChainClock, "now" | "watch">,
  { train, commit }: Windows,
  now: () => number = () => performance.now() / 1000,
): Promise<Schedule> {
  /** The head from whose block on the window is open: the next block is inside. */
  const opening = train.first - 1;
  const initial = (await clock.now()).best;
  let first: { block: number; at: number } | undefined;
  const begun = now();
  let latest = { block: initial, at: begun };
  let opened: number | undefined;
  const close = clock.watch(({ best }) => {
    if (best <= latest.block) return;
    latest = { block: best, at: now() };
    // The head that was there before may be of any age; the first that comes is new.
    first ??= latest;
    if (initial < opening && best >= opening) opened ??= latest.at;
  });

  /** Seconds a block takes; undefined before two have come. */
  const pace = () =>
    first === undefined || first.block === latest.block ? undefined : (latest.at - first.at) / (latest.block - first.block);
  /** Seconds until a block is the head. While the chain stalls none pass. */
  const until = (block: number) => {
    const seconds = pace();
    if (seconds === undefined) return undefined;
    return Math.max(0, (block - latest.block) * seconds - Math.min(seconds, now() - latest.at));
  };

  return {
    share: () => Math.max(0, (latest.block - opening) / (train.last - opening)),
    secondsToOpening: () => until(opening),
    secondsLeft: () => until(train.last),
    allows(seconds) {
      if (latest.block >= train.last) return false;
      const rest = until(commit.last - inclusionBlocks);
      return rest === undefined || seconds <= rest;
    },
    windowSeconds() {
      const end = now() + (until(train.last) ?? 0);
      const byPace = latest.at - (latest.block - opening) * (pace() ?? 0);
      // Where it was open already when this began, it has been open since then at least, whatever the blocks' pace became.
      const begin = opened ?? (initial < opening ? byPace : Math.min(begun, byPace));
      return Math.max(0, end - begin);
    },
    close,
  };
}
