/**
 * A checkpoint directory in the Hugging Face layout, of any size: config.json, tokenizer.json, and model.safetensors or shards with an
 * index. It appears under its name when all is in it. Files that an interrupted run finished are kept in a directory beside it and not
 * written again.
 */
import { lstat, readdir, realpath, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ConnitoError } from "../errors.ts";
import { fileError, isMissing, onStorage } from "../files/errors.ts";
import { fileExists } from "../files/reading.ts";
import { syncDirectory, writeWhole } from "../files/replacing.ts";
import { makeOwnDirectory } from "../files/resuming.ts";
import { bytesOf } from "./dtype.ts";
import { layOut, type TensorToWrite } from "./safetensors.ts";
import { jsonFile } from "./write-checkpoint.ts";

type Tensor = Pick<TensorToWrite, "name" | "dtype" | "shape">;
type Metadata = Readonly<Record<string, string>>;

/** Other readers of this layout refuse a file that does not say which framework's conventions its tensors follow. */
const metadata: Metadata = { format: "pt" };

export interface PlannedShard<Planned extends Tensor> {
  readonly name: string;
  readonly tensors: readonly Planned[];
}

/** The tensors in their order, in files of at most `maximumShardBytes` of them; a larger tensor has a file to itself. */
export function planShards<Planned extends Tensor>(tensors: readonly Planned[], maximumShardBytes: number): PlannedShard<Planned>[] {
  const shards: Planned[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const own = sizeOf(tensor);
    if (bytes > 0 && bytes + own > maximumShardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)?.push(tensor);
    bytes += own;
  }
  const five = (number: number) => String(number).padStart(5, "0");
  const nameOf = (index: number) =>
    shards.length === 1 ? "model.safetensors" : `model-${five(index + 1)}-of-${five(shards.length)}.safetensors`;
  return shards.map((own, index) => ({ name: nameOf(index), tensors: own }));
}

export interface WriteShardsOptions<Planned extends Tensor> {
  /** Must not exist, or be empty. */
  readonly directory: string;
  /** Says which bytes the tensors have: only what was written from the same source counts as finished. */
  readonly source: string;
  readonly shards: readonly PlannedShard<Planned>[];
  readonly maximumShardBytes: number;
  /** The bytes of config.json and tokenizer.json. */
  readonly config: Uint8Array;
  readonly tokenizer: Uint8Array;
  /** Writes one file, which has its name only when it is whole. */
  readonly write: (path: string, tensors: readonly Planned[], metadata: Metadata, onProgress: (done: number) => void) => Promise<void>;
  /** What to throw where the source is no longer what `source` says. Asked when all is written; then nothing of it is kept. */
  readonly findChange?: () => Promise<ConnitoError | undefined>;
  /** Bytes of tensors written, and all there are. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface WrittenCheckpoint {
  readonly files: number;
  /** Of tensors. */
  readonly bytes: number;
}

/** Throws `output-exists`, `output-mount-point`, what `placeOfDirectory` throws, what `findChange` finds, and what `write` and writing files throws. */
export async function writeShards<Planned extends Tensor>(options: WriteShardsOptions<Planned>): Promise<WrittenCheckpoint> {
  const { source, shards, maximumShardBytes, config, tokenizer, write, findChange, onProgress } = options;
  const directory = await placeOfDirectory(options.directory);
  await requireFree(directory);
  const sizeOfShard = (tensors: readonly Planned[]) => tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0);
  const bytes = shards.reduce((sum, { tensors }) => sum + sizeOfShard(tensors), 0);
  // Named by all that decides what its files hold, so that a finished file in it needs no second look.
  const unfinished = join(dirname(directory), `.${basename(directory)}.${source.slice(0, 16)}.${maximumShardBytes}.export`);
  await onStorage(unfinished, () => makeOwnDirectory(unfinished));

  let done = 0;
  for (const { name, tensors } of shards) {
    const path = join(unfinished, name);
    const before = done;
    if (!(await isFinished(path, tensors))) await write(path, tensors, metadata, (part) => onProgress?.(before + part, bytes));
    done += sizeOfShard(tensors);
    onProgress?.(done, bytes);
  }
  if (shards.length > 1) {
    const weightMap = Object.fromEntries(shards.flatMap(({ name, tensors }) => tensors.map((tensor) => [tensor.name, name])));
    await writeWhole(
      join(unfinished, "model.safetensors.index.json"),
      jsonFile({ metadata: { total_size: bytes }, weight_map: weightMap }),
    );
  }
  await writeWhole(join(unfinished, "tokenizer.json"), tokenizer);
  await writeWhole(join(unfinished, "config.json"), config);
  const change = await findChange?.();
  if (change !== undefined) {
    await onStorage(unfinished, () => rm(unfinished, { recursive: true, force: true }));
    throw change;
  }
  await onStorage(directory, async () => {
    await rmdir(directory).catch(() => undefined);
    await rename(unfinished, directory);
    await syncDirectory(dirname(directory));
  });
  return { files: shards.length, bytes };
}

function sizeOf({ dtype, shape }: Tensor): number {
  return bytesOf(dtype, shape) ?? Number.NaN;
}

/** A file that has its name is whole, and its length tells that it was planned alike. */
async function isFinished(path: string, tensors: readonly Tensor[]): Promise<boolean> {
  if (!(await fileExists(path))) return false;
  if ((await stat(path)).size === layOut(tensors, metadata).total) return true;
  await rm(path);
  return false;
}

/** Where a directory called so is put: where a link leads, since no directory can take the place of a link. Throws `file-irregular` for one that leads nowhere. */
export async function placeOfDirectory(path: string): Promise<string> {
  const directory = resolve(path);
  try {
    if (!(await lstat(directory)).isSymbolicLink()) return directory;
  } catch (error) {
    if (isMissing(error)) return directory;
    throw fileError(error, directory);
  }
  if (await fileExists(directory)) return onStorage(directory, () => realpath(directory));
  throw new ConnitoError(`${directory} is a link that leads nowhere`, {
    code: "file-irregular",
    exit: "invalidInput",
    hint: "Remove it, or make the directory that it leads to.",
  });
}

async function requireFree(directory: string): Promise<void> {
  if (!(await fileExists(directory))) return;
  const [own, parent] = await onStorage(directory, () => Promise.all([stat(directory), stat(dirname(directory))]));
  // Nothing can be renamed to it, which would be found when all is written.
  if (own.dev !== parent.dev)
    throw new ConnitoError(`${directory} is a mount point`, {
      code: "output-mount-point",
      exit: "invalidInput",
      hint: "Name a directory inside it.",
    });
  const names = await onStorage(directory, () => readdir(directory));
  if (names.length === 0) return;
  throw new ConnitoError(`${directory} is not empty`, {
    code: "output-exists",
    exit: "invalidInput",
    hint: "Choose another directory, or empty it first.",
  });
}
