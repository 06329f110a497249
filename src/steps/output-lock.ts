/**
 * Where outputs may be written, which is asked before the work that takes hours. One process writes an output at a time: two would go on in
 * the same hidden files beside it, and the one that ends last would find them gone.
 */
import { mkdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ConnitoError } from "../errors.ts";
import { onStorage } from "../files/errors.ts";
import { fileExists } from "../files/reading.ts";
import { placeOfDirectory } from "../model/write-shards.ts";
import { acquireLock, type Lock } from "../workspace/lock.ts";

type OutputKind = "file" | "directory";

/** What file systems allow a name. */
const longestName = 255;

/** The most that a hidden file beside an output adds to its name: of them all, what claims a dead process's lock has the longest. */
const longestAddition = `..lock.after.${"0".repeat(32)}`.length;

/** Throws `usage` for a path that no file or directory can be written to, `file-irregular` where a directory is in a file's place. */
export async function checkOutput(output: string, kind: OutputKind): Promise<void> {
  if (output === "") throw unusable("The output has no name.", `Name a ${kind}.`);
  if (kind === "file" && /(^|[/\\])\.{0,2}$/.test(output)) throw unusable(`${output} is the name of a directory.`, "Name a file in it.");
  const bytes = Buffer.byteLength(basename(resolve(output)));
  const most = longestName - longestAddition;
  if (bytes > most)
    throw unusable(
      `The output's name has ${bytes} bytes; hidden files beside it need some of the ${longestName} that there are.`,
      `Choose a name of at most ${most} bytes.`,
    );
  if (kind === "file" && (await isDirectory(output)))
    throw new ConnitoError(`${output} is a directory`, { code: "file-irregular", exit: "invalidInput", hint: "Name a file in it." });
}

async function isDirectory(path: string): Promise<boolean> {
  return onStorage(path, async () => (await fileExists(path)) && (await stat(path)).isDirectory());
}

function unusable(message: string, hint: string): ConnitoError {
  return new ConnitoError(message, { code: "usage", exit: "usage", hint });
}

/**
 * Does `work`, which writes the file or directory `output`; missing parents are made. On a file system without hard links nobody is kept out.
 * Throws `output-busy`, which names the process, what `checkOutput` and `placeOfDirectory` throw, and what `work` throws.
 */
export async function withOutput<T>(output: string, kind: OutputKind, work: () => Promise<T>): Promise<T> {
  await checkOutput(output, kind);
  // One lock for all links to a directory.
  const path = kind === "directory" ? await placeOfDirectory(output) : resolve(output);
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
