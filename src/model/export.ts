/**
 * A version as a checkpoint that other programs load: config.json, tokenizer.json and safetensors files in the Hugging Face layout, made
 * from the version's pieces as they are. Momentum, which only the next merge wants, is left out, and so are stand-ins,
 * which only miners want.
 */
import { ConnitoError } from "../errors.ts";
import { type Architecture, listTensors } from "./families/index.ts";
import { type Manifest, manifestRoot } from "./manifest.ts";
import type { Piece } from "./pieces.ts";
import { type TensorOfPieces, type WritePiecesOptions, writePieces } from "./write-pieces.ts";
import { type PlannedShard, planShards, type WrittenCheckpoint, writeShards } from "./write-shards.ts";

/**
 * The version's tensors in the family's order, put together from their pieces, in files of at most `maximumShardBytes` of tensors (a
 * larger tensor has a file to itself). Throws `version-incomplete` where pieces are missing or do not fit.
 */
export function planExport(manifest: Manifest, architecture: Architecture, maximumShardBytes: number): PlannedShard<TensorOfPieces>[] {
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

  return planShards([...listed, ...carried], maximumShardBytes);
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

/**
 * Writes the directory; it appears under its name when all is in it, and what an interrupted run finished is not written again.
 * Throws `output-exists`, `version-incomplete`, and what `writePieces` throws.
 */
export async function exportVersion(options: ExportOptions): Promise<WrittenCheckpoint> {
  const { manifest, architecture, maximumShardBytes } = options;
  return writeShards({
    ...options,
    source: manifestRoot(manifest),
    shards: planExport(manifest, architecture, maximumShardBytes),
    async write(path, tensors, metadata, onProgress) {
      await writePieces(path, tensors, metadata, { ...options, onProgress });
    },
  });
}

function incomplete(detail: string): ConnitoError {
  return new ConnitoError(`the version cannot be exported: ${detail}`, {
    code: "version-incomplete",
    exit: "verification",
    hint: "Its manifest does not belong to this model: check the root, and fetch the version again.",
  });
}
