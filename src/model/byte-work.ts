/**
 * What is done with the bytes of pieces where they lie: hashed; copied and hashed in the same pass; or quantised to a stand-in and hashed.
 * Plain synchronous code over one buffer, because it runs in threads of its own (byte-workers.ts), where nothing else waits: the
 * kernel reads ahead, and a core does nothing but hash.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { transferBytes } from "../files/reading.ts";
import { type Feedback, feedbackOf } from "../kernels/low-bits.ts";
import type { Hash } from "../protocol/hash.ts";
import { type FloatDtype, toFloat32 } from "./dtype.ts";
import { createLowBits } from "./low-bits.ts";
import { lowBitsOf, type StandInDtype } from "./pieces.ts";
import { createQuantizer } from "./stand-ins.ts";

interface Range {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

/** Writes the bytes to the open file `fd`, whose path is `target`, from `position` on. */
interface CopyJob extends Range {
  readonly kind: "copy";
  readonly fd: number;
  readonly target: string;
  readonly position: number;
  /** Where the bytes that lie there already have this hash they are left, and `file` is not read. The target is then open for reading too, and long enough. */
  readonly unless?: Hash | undefined;
}

export type ByteJob =
  | (Range & { readonly kind: "hash" })
  | CopyJob
  | (Range & {
      readonly kind: "stand-in";
      readonly dtype: FloatDtype;
      readonly shape: readonly number[];
      readonly encoding: Exclude<StandInDtype, "Q0_64">;
      /** Of what the rows are multiplied by, in blocks of columns (low-bits.ts). */
      readonly moments?: readonly Float32Array[] | undefined;
    });

export interface ByteResult {
  /** SHA-256 of the bytes that were read, or were found where they were to be copied to. */
  readonly hash: Hash;
  /** Of a "stand-in" job: its bytes; absent where a value is not finite. */
  readonly standIn?: { readonly bytes: Uint8Array; readonly hash: Hash };
}

/** The file that an error of `run` is about: a copy's target where writing it, or reading what is there already, failed; else what was read. */
export function fileOfFailure(job: ByteJob, error: unknown): string {
  return job.kind === "copy" && targetFailures.has(error as object) ? job.target : job.file;
}

const targetFailures = new WeakSet<object>();

/** Does what is about a copy's target. */
function onTarget<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (typeof error === "object" && error !== null) targetFailures.add(error);
    throw error;
  }
}

/** A file that ends before the range does. */
export class RangeTruncated extends Error {
  readonly end: number;
  readonly wanted: number;

  constructor(end: number, wanted: number) {
    super("the file ends before the range");
    this.end = end;
    this.wanted = wanted;
  }
}

export interface ByteWork {
  /** Does one job. Calls `onBytes` with every part that is done; what it throws ends the job. */
  run(job: ByteJob, onBytes: (bytes: number) => void): ByteResult;
  /** Closes the file that is still open. */
  close(): void;
}

/** One thread's work: a buffer, and the file read last, which is mostly the next one as well. */
export function openByteWork(): ByteWork {
  const buffer = new Uint8Array(transferBytes);
  let open: { readonly file: string; readonly fd: number } | undefined;
  let known: { readonly moments: readonly Float32Array[]; readonly feedback: Feedback } | undefined;

  function close(): void {
    if (open !== undefined) closeSync(open.fd);
    open = undefined;
  }

  function descriptor(file: string): number {
    if (open?.file === file) return open.fd;
    close();
    open = { file, fd: openSync(file, "r") };
    return open.fd;
  }

  /** Made once for jobs that follow each other. */
  function feedbackFor(moments: readonly Float32Array[] | undefined): Feedback | undefined {
    if (moments === undefined) return undefined;
    if (known?.moments !== moments) known = { moments, feedback: feedbackOf(moments) };
    return known.feedback;
  }

  /** Bytes of an open file in parts of at most `most`, each in the same buffer. */
  function eachPart(
    fd: number,
    { offset, bytes }: Pick<Range, "offset" | "bytes">,
    most: number,
    use: (part: Uint8Array, at: number) => void,
  ): void {
    const room = most <= buffer.length ? buffer : new Uint8Array(most);
    for (let at = 0; at < bytes; ) {
      const part = room.subarray(0, Math.min(most, bytes - at));
      for (let done = 0; done < part.length; ) {
        const read = readSync(fd, part, done, part.length - done, offset + at + done);
        if (read === 0) throw new RangeTruncated(offset + at + done, offset + bytes);
        done += read;
      }
      use(part, at);
      at += part.length;
    }
  }

  /** Whether a copy's bytes are where it would put them. */
  function isThere({ fd, position, bytes, unless }: CopyJob, onBytes: (bytes: number) => void): boolean {
    const hasher = createHash("sha256");
    onTarget(() =>
      eachPart(fd, { offset: position, bytes }, buffer.length, (part) => {
        hasher.update(part);
        // Done is what stays: whether this does is known at the end.
        onBytes(0);
      }),
    );
    if (hasher.digest("hex") !== unless) return false;
    onBytes(bytes);
    return true;
  }

  return {
    close,
    run(job, onBytes) {
      if (job.kind === "copy" && job.unless !== undefined && isThere(job, onBytes)) return { hash: job.unless };
      const hasher = createHash("sha256");
      if (job.kind === "stand-in") {
        const bits = lowBitsOf(job.encoding);
        const quantizer = bits ? createLowBits(job.shape, bits, feedbackFor(job.moments)) : createQuantizer(job.shape);
        const rowBytes = job.bytes / quantizer.rows;
        const rows = Math.max(1, Math.floor(transferBytes / rowBytes));
        let row = 0;
        let finite = true;
        eachPart(descriptor(job.file), job, rows * rowBytes, (part) => {
          hasher.update(part);
          const values = toFloat32(job.dtype, part);
          finite &&= quantizer.put(values, row);
          row += part.length / rowBytes;
          onBytes(part.length);
        });
        const hash = hasher.digest("hex");
        const { bytes } = quantizer;
        return finite ? { hash, standIn: { bytes, hash: createHash("sha256").update(bytes).digest("hex") } } : { hash };
      }
      eachPart(descriptor(job.file), job, buffer.length, (part, at) => {
        hasher.update(part);
        if (job.kind === "copy") {
          for (let done = 0; done < part.length; ) {
            done += onTarget(() => writeSync(job.fd, part, done, part.length - done, job.position + at + done));
          }
        }
        onBytes(part.length);
      });
      return { hash: hasher.digest("hex") };
    },
  };
}
