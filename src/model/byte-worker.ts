/** The thread that byte-workers.ts starts: does jobs as they come, counts bytes where the main thread sees them, and says what failed. */
import { parentPort, workerData } from "node:worker_threads";
import { type ByteResult, fileOfFailure, openByteWork, RangeTruncated } from "./byte-work.ts";
import type { Batch, Finished, ThreadData } from "./byte-workers.ts";

const { counters, slot, stop } = workerData as ThreadData;
const work = openByteWork();
const stopped = new Error("stopped");

function count(bytes: number): void {
  counters[slot] = (counters[slot] as number) + bytes;
  if (Atomics.load(stop, 0) !== 0) throw stopped;
}

function finish({ first, jobs }: Batch): Finished {
  const results: ByteResult[] = [];
  for (const job of jobs) {
    try {
      results.push(work.run(job, count));
    } catch (error) {
      const { code, syscall, message } = error as NodeJS.ErrnoException;
      const file = fileOfFailure(job, error);
      const truncated = error instanceof RangeTruncated ? { end: error.end, wanted: error.wanted } : undefined;
      return { first, results, failure: { file, code, syscall, message, truncated } };
    }
  }
  return { first, results };
}

parentPort?.on("message", (batch: Batch) => {
  const finished = finish(batch);
  const moved = finished.results.flatMap(({ standIn }) => (standIn === undefined ? [] : [standIn.bytes.buffer as ArrayBuffer]));
  parentPort?.postMessage(finished, moved);
});
