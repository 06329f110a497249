/**
 * One process writes an output at a time: two would go on in the same hidden files beside it, and the one that ends last would find them gone.
 */
import { mkdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ConnitoError } from "../errors.ts";
import { onStorage } from "../files/errors.ts";
import { acquireLock, type Lock } from "../workspace/lock.ts";

/**
 * Does `work`, which writes the file or directory `output`; missing parents are made. On a file system without hard links nobody is kept out.
 * Throws `output-busy`, which names the process, and what `work` throws.
 */
export async function withOutput<T>(output: string, work: () => Promise<T>): Promise<T> {
  const path = resolve(output);
  await onStorage(dirname(path), () => mkdir(dirname(path), { recursive: true }));
  const lock = await lockBeside(path);
  try {
    return await work();
  } finally {
    await lock?.release();
  }
}

async function lockBeside(path: string): Promise<Lock | undefined> {
  try {
    return await acquireLock(join(dirname(path), `.${basename(path)}.lock`));
  } catch (error) {
    if (!(error instanceof ConnitoError)) throw error;
    if ((error.cause as NodeJS.ErrnoException | undefined)?.syscall === "link") return undefined;
    if (error.code !== "state-locked") throw error;
    throw new ConnitoError(`${path} is being written already: ${error.message}`, {
      code: "output-busy",
      exit: "locked",
      hint: "Wait for that process, or choose another output. After a crash nothing needs to be removed by hand.",
      retryable: true,
      cause: error,
    });
  }
}
