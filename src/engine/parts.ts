/**
 * How a micro-batch is shared out: parts of as many sequences each, computed at the same time, one thread each. A thread that has its own sequences waits
 * for nobody between operators; threads that share each operator's work wait for each other thousands of times in a step.
 */
import { availableParallelism } from "node:os";

/** Each part has a gradient of its own, and occupies one of the process's few threads for waiting. */
const mostParts = 4;

export interface Sharing {
  /** Divides the sequences. */
  readonly parts: number;
  /** Threads of the session that all parts run in: beside each part's own, those that they share. */
  readonly sessionThreads: number;
}

export function shareSequences(sequences: number, threads: number = availableParallelism()): Sharing {
  let parts = Math.min(sequences, threads, mostParts);
  while (sequences % parts !== 0) parts -= 1;
  return { parts, sessionThreads: threads - parts + 1 };
}
