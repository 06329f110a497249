/**
 * Work on many ranges of files (byte-work.ts) on all cores. Jobs go to threads in batches, in the order given, so that a disk is read
 * from front to back; only what would keep one thread busy long after the others are done goes first. Little work is done here, since
 * starting threads would take longer.
 */
import { availableParallelism } from "node:os";
import { setImmediate } from "node:timers/promises";
import { fileError, truncated } from "../files/errors.ts";
import { startThread } from "../threads.ts";
import { type ByteJob, type ByteResult, fileOfFailure, openByteWork, RangeTruncated } from "./byte-work.ts";

export type { ByteJob, ByteResult } from "./byte-work.ts";

export interface ByteWorkOptions {
  /** At most so many threads; by default one for each core. */
  readonly threads?: number | undefined;
  /** Called with each result, in any order of jobs, with those of a batch at the same time; while they are taken their thread gets one batch more to do. */
  readonly onResult: (result: ByteResult, index: number) => Promise<void> | void;
  /** Bytes read so far. */
  readonly onProgress?: ((done: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Jobs `first`, `first + 1`, .. in the order in which they are done. */
export interface Batch {
  readonly first: number;
  readonly jobs: readonly ByteJob[];
}

export interface Finished {
  readonly first: number;
  readonly results: ByteResult[];
  readonly failure?: {
    readonly file: string;
    readonly code: string | undefined;
    readonly syscall: string | undefined;
    readonly message: string;
    readonly truncated: { readonly end: number; readonly wanted: number } | undefined;
  };
}

export interface ThreadData {
  /** Bytes done, a slot for each thread. */
  readonly counters: Float64Array;
  readonly slot: number;
  /** Not zero when work shall end. */
  readonly stop: Int32Array;
}

/** Below this many bytes no thread is started. */
const fewBytes = 32 << 20;
const batchBytes = 16 << 20;
const batchJobs = 64;
/** Jobs from this size on go first. */
const longBytes = 256 << 20;
const progressMilliseconds = 100;

/**
 * Does all jobs; resolves when every `onResult` has. The first failure is thrown once no thread works any more: file-missing,
 * file-truncated, permission-denied, disk-full, ..., the signal's reason, or what `onResult` throws.
 */
export async function workOnBytes(jobs: readonly ByteJob[], options: ByteWorkOptions): Promise<void> {
  options.signal?.throwIfAborted();
  const total = jobs.reduce((sum, { bytes }) => sum + bytes, 0);
  const threads = Math.min(options.threads ?? availableParallelism(), Math.ceil(total / batchBytes));
  if (total < fewBytes || threads < 2) return workHere(jobs, options);

  const order = [...jobs.keys()].sort((a, b) => Number(long(jobs[b])) - Number(long(jobs[a])) || a - b);
  const batches = inBatches(order.map((index) => jobs[index] as ByteJob));
  const counters = new Float64Array(new SharedArrayBuffer(8 * threads));
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const timer = setInterval(() => options.onProgress?.(sumOf(counters)), progressMilliseconds);
  const halt = () => Atomics.store(stop, 0, 1);
  options.signal?.addEventListener("abort", halt, { once: true });
  const workers = Array.from({ length: threads }, (_, slot) => startWorker({ counters, slot, stop }));
  let failure: { readonly error: unknown } | undefined;
  const fail = (error: unknown) => {
    failure ??= { error };
    halt();
  };
  const drive = async (thread: Thread) => {
    // One batch is under way while the results of the one before are taken.
    let next = batches.shift();
    let underWay = next && thread.run(next);
    while (underWay !== undefined) {
      const finished = await underWay;
      next = failure === undefined && finished.failure === undefined ? batches.shift() : undefined;
      underWay = next && thread.run(next);
      // Also when it is never waited for, because what came before it failed.
      underWay?.catch(() => undefined);
      if (failure === undefined)
        await take(finished.results, (result, at) => options.onResult(result, order[finished.first + at] as number));
      if (finished.failure !== undefined) throw options.signal?.aborted ? options.signal.reason : typed(finished.failure);
    }
  };
  try {
    await Promise.all(workers.map((thread) => drive(thread).catch(fail)));
  } finally {
    clearInterval(timer);
    options.signal?.removeEventListener("abort", halt);
    halt();
    await Promise.all(workers.map((thread) => thread.end()));
  }
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
  options.onProgress?.(total);
}

async function workHere(jobs: readonly ByteJob[], { onResult, onProgress, signal }: ByteWorkOptions): Promise<void> {
  const work = openByteWork();
  let done = 0;
  const run = (job: ByteJob): ByteResult => {
    signal?.throwIfAborted();
    try {
      return work.run(job, (bytes) => (done += bytes));
    } catch (error) {
      const file = fileOfFailure(job, error);
      if (error instanceof RangeTruncated) throw truncated(file, error.end, error.wanted);
      throw fileError(error, file);
    }
  };
  try {
    for (const { first, jobs: batch } of inBatches(jobs)) {
      const results: ByteResult[] = [];
      try {
        for (const job of batch) {
          results.push(run(job));
          onProgress?.(done);
        }
      } finally {
        // What was done before a failure is not done again by whoever keeps it.
        await take(results, (result, at) => onResult(result, first + at));
      }
      // A breath for whatever else this process does.
      await setImmediate();
    }
  } finally {
    work.close();
  }
}

/** All at the same time, since a disk syncs many files in hardly more time than one. The first failure is thrown when none is at work any more. */
async function take(results: readonly ByteResult[], onResult: (result: ByteResult, at: number) => Promise<void> | void): Promise<void> {
  const taken = await Promise.allSettled(results.map(async (result, at) => onResult(result, at)));
  for (const one of taken) if (one.status === "rejected") throw one.reason;
}

function long(job: ByteJob | undefined): boolean {
  return job !== undefined && job.bytes >= longBytes;
}

function sumOf(counters: Float64Array): number {
  return counters.reduce((sum, bytes) => sum + bytes, 0);
}

function inBatches(jobs: readonly ByteJob[]): Batch[] {
  const batches: Batch[] = [];
  let gathered: ByteJob[] = [];
  let bytes = 0;
  for (const [index, job] of jobs.entries()) {
    gathered.push(job);
    bytes += job.bytes;
    const full = bytes >= batchBytes || gathered.length >= batchJobs;
    if (index + 1 < jobs.length && (!full || shares(job, jobs[index + 1]))) continue;
    batches.push({ first: index + 1 - gathered.length, jobs: gathered });
    gathered = [];
    bytes = 0;
  }
  return batches;
}

/** What both are rounded for is then sent and prepared once. */
function shares(job: ByteJob, next: ByteJob | undefined): boolean {
  return job.kind === "stand-in" && next?.kind === "stand-in" && job.moments !== undefined && job.moments === next.moments;
}

interface Thread {
  /** One batch after another: the answers come in the order of the calls. */
  run(batch: Batch): Promise<Finished>;
  end(): Promise<unknown>;
}

function startWorker(data: ThreadData): Thread {
  const worker = startThread("byte-worker", import.meta.url, data);
  const waiting: { resolve(finished: Finished): void; reject(error: unknown): void }[] = [];
  worker.on("message", (finished: Finished) => waiting.shift()?.resolve(finished));
  let gone: { readonly error: unknown } | undefined;
  const lose = (error: unknown) => {
    gone ??= { error };
    for (const { reject } of waiting.splice(0)) reject(gone.error);
  };
  worker.on("error", lose);
  worker.on("exit", () => lose(new Error("a thread ended before its work was done")));
  return {
    run: (batch) =>
      new Promise((resolve, reject) => {
        if (gone !== undefined) return reject(gone.error);
        waiting.push({ resolve, reject });
        worker.postMessage(batch);
      }),
    end: () => worker.terminate(),
  };
}

/** The error as it would have been thrown here. */
function typed({ file, code, syscall, message, truncated: short }: NonNullable<Finished["failure"]>): unknown {
  if (short !== undefined) return truncated(file, short.end, short.wanted);
  return fileError(Object.assign(new Error(message), { code, syscall }), file);
}
