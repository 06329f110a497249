/**
 * Checkpoints beside training: what is kept is copied between two steps, and written while the next ones are computed, so that training hardly waits.
 */

/** Seconds between checkpoints: a crash loses at most this much work. The first comes sooner, so that it is known how long one takes. */
const checkpointSeconds = 5;
const firstSeconds = 1;
/** The share of the time that copying may take; where a copy takes long, checkpoints come less often. */
const copyingShare = 0.005;

export interface Checkpoints {
  /** Begins one where it is time and the last one is written. @throws what writing the last one threw */
  due(): Promise<void>;
  /** Makes one, and waits until it is written. */
  now(): Promise<void>;
  /** Waits for what is being written. @throws what writing it threw */
  written(): Promise<void>;
  /** How long writing the last one took; 0 before there is one. */
  writeSeconds(): number;
}

/** `copy` copies what is to be kept, and gives what writes it. */
export function createCheckpoints(copy: () => Promise<() => Promise<void>>): Checkpoints {
  let last = performance.now();
  let pause = firstSeconds * 1000;
  let writeSeconds = 0;
  let writing: Promise<void> | undefined;
  let failure: unknown;
  const begin = async () => {
    const started = performance.now();
    const write = await copy();
    const copied = performance.now();
    pause = Math.max(checkpointSeconds * 1000, (copied - started) / copyingShare);
    writing = write().then(
      () => {
        writeSeconds = (performance.now() - copied) / 1000;
        writing = undefined;
      },
      (error: unknown) => {
        failure = error;
      },
    );
  };
  const written = async () => {
    await writing;
    if (failure !== undefined) throw failure;
  };
  return {
    async due() {
      if (failure !== undefined) await written();
      if (writing !== undefined || performance.now() - last < pause) return;
      await begin();
      last = performance.now();
    },
    async now() {
      await begin();
      await written();
    },
    written,
    writeSeconds: () => writeSeconds,
  };
}
