/**
 * A version as a checkpoint that other programs load: config.json, tokenizer.json and safetensors files in the Hugging Face layout, made
 * from the version's pieces as they are. Momentum, which only the next merge wants, is left out.
 */
import { mkdir, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ConnitoError } from "../errors.ts";
import { fileExists, onStorage, syncDirectory, writeWhole } from "../files.ts";
import { type Architecture, listTensors } from "./families/index.ts";
import { type Manifest, manifestRoot } from "./manifest.ts";
import type { Piece } from "./pieces.ts";
import { layOut } from "./safetensors.ts";
import { jsonFile } from "./write-checkpoint.ts";
import { type TensorOfPieces, type WritePiecesOptions, writePieces } from "./write-pieces.ts";

/** Other readers of this layout refuse a file that does not say which framework's conventions its tensors follow. */
const metadata = { format: "pt" };

export interface PlannedShard {
  readonly name: string;
  readonly tensors: readonly TensorOfPieces[];
}

/**
 * The version's tensors in the family's order, put together from their pieces, in files of at most `maximumShardBytes` of tensors (a
 * larger tensor has a file to itself). Throws `version-incomplete` where pieces are missing or do not fit.
 */
export function planExport(manifest: Manifest, architecture: Architecture, maximumShardBytes: number): PlannedShard[] {
  const parts = new Map<string, Piece[]>();
  for (const piece of manifest.pieces) {
    if (piece.role !== "backbone" && piece.role !== "expert") continue;
    const known = parts.get(piece.name);
    if (known === undefined) parts.set(piece.name, [piece]);
    else known.push(piece);
  }
  const specs = listTensors(architecture, new Set(parts.keys()));
  const listed = specs.map(({ name, shape, fusedExperts = 1 }): TensorOfPieces => {
    const pieces = parts.get(name) ?? [];
    parts.delete(name);
    const [first] = pieces;
    if (first === undefined || pieces.length !== fusedExperts || pieces.some(({ dtype }) => dtype !== first.dtype))
      throw incomplete(`${name} has ${pieces.length} pieces of one element type instead of ${fusedExperts}`);
    return { name, dtype: first.dtype as TensorOfPieces["dtype"], shape, pieces };
  });
  // What the family only carries along.
  const carried = [...parts].map(([name, pieces]): TensorOfPieces => {
    const [piece] = pieces;
    if (piece === undefined || pieces.length !== 1 || piece.role !== "backbone") throw incomplete(`${name} is no tensor of the model`);
    return { name, dtype: piece.dtype as TensorOfPieces["dtype"], shape: piece.shape, pieces };
  });

  const shards: TensorOfPieces[][] = [[]];
  let bytes = 0;
  for (const tensor of [...listed, ...carried]) {
    const own = bytesOfTensor(tensor);
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
  return shards.map((tensors, index) => ({ name: nameOf(index), tensors }));
}

export interface ExportOptions extends Pick<WritePiecesOptions, "locate" | "onMismatch" | "onProgress" | "threads" | "signal"> {
  readonly manifest: Manifest;
  readonly architecture: Architecture;
  /** The bytes of config.json and tokenizer.json. */
  readonly config: Uint8Array;
  readonly tokenizer: Uint8Array;
  /** Must not exist, or be empty. */
  readonly directory: string;
  readonly maximumShardBytes: number;
}

export interface ExportedVersion {
  readonly files: number;
  /** Of tensors. */
  readonly bytes: number;
}

/**
 * Writes the directory; it appears under its name when all is in it. Files that an interrupted run finished are kept in a directory
 * beside it and not written again. Throws `output-exists`, `version-incomplete`, and what `writePieces` throws.
 */
export async function exportVersion(options: ExportOptions): Promise<ExportedVersion> {
  const { manifest, architecture, config, tokenizer, maximumShardBytes, onProgress } = options;
  const directory = resolve(options.directory);
  await requireFree(directory);
  const shards = planExport(manifest, architecture, maximumShardBytes);
  const bytes = shards.flatMap(({ tensors }) => tensors).reduce((sum, tensor) => sum + bytesOfTensor(tensor), 0);
  // Named by all that decides what its files hold, so that a finished file in it needs no second look.
  const unfinished = join(dirname(directory), `.${basename(directory)}.${manifestRoot(manifest).slice(0, 16)}.${maximumShardBytes}.export`);
  await onStorage(unfinished, () => mkdir(unfinished, { recursive: true }));

  let done = 0;
  for (const { name, tensors } of shards) {
    const path = join(unfinished, name);
    const own = tensors.reduce((sum, tensor) => sum + bytesOfTensor(tensor), 0);
    const before = done;
    if (!(await isFinished(path, tensors)))
      await writePieces(path, tensors, metadata, { ...options, onProgress: (part) => onProgress?.(before + part, bytes) });
    done += own;
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
  await onStorage(directory, async () => {
    await rmdir(directory).catch(() => undefined);
    await rename(unfinished, directory);
    await syncDirectory(dirname(directory));
  });
  return { files: shards.length, bytes };
}

function bytesOfTensor({ pieces }: TensorOfPieces): number {
  return pieces.reduce((sum, piece) => sum + piece.bytes, 0);
}

/** A file that has its name is whole, and its length tells that it was planned alike. */
async function isFinished(path: string, tensors: readonly TensorOfPieces[]): Promise<boolean> {
  if (!(await fileExists(path))) return false;
  if ((await stat(path)).size === layOut(tensors, metadata).total) return true;
  await rm(path);
  return false;
}

async function requireFree(directory: string): Promise<void> {
  const names = await onStorage(directory, async () => ((await fileExists(directory)) ? readdir(directory) : []));
  if (names.length === 0) return;
  throw new ConnitoError(`${directory} is not empty`, {
    code: "output-exists",
    exit: "invalidInput",
    hint: "Choose another directory, or empty it first.",
  });
}

function incomplete(detail: string): ConnitoError {
  return new ConnitoError(`the version cannot be exported: ${detail}`, {
    code: "version-incomplete",
    exit: "verification",
    hint: "Its manifest does not belong to this model: check the root, and fetch the version again.",
  });
}
