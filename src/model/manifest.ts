/**
 * Manifests: the list of a version's pieces and the root that names it (docs/protocol.md, section 4). A manifest from a peer is
 * bounded, checked field by field and compared with the root that the chain or the task names before anything in it is used.
 */
import * as v from "valibot";
import { ConnitoError } from "../errors.ts";
import { canonicalJson } from "../protocol/canonical.ts";
import { type Hash, hashFields, hashToBytes, isHash } from "../protocol/hash.ts";
import { merkleRoot } from "../protocol/merkle.ts";
import { type Dtype, isDtype } from "./dtype.ts";
import { bytesOfPiece, comparePieces, type Piece, pieceKey, roles } from "./pieces.ts";
import { maximumRank, maximumTensors } from "./safetensors-header.ts";

export interface Manifest {
  readonly format: "connito/manifest/1";
  /** Hash of config.json. */
  readonly config: Hash;
  /** Hash of tokenizer.json. */
  readonly tokenizer: Hash;
  /** In canonical order. */
  readonly pieces: readonly Piece[];
}

/** A manifest's JSON may have at most this many bytes: some 200,000 pieces. */
export const maximumManifestBytes = 64 * 2 ** 20;

/** The version root, or the stand-ins' root. */
export function manifestRoot(manifest: Manifest): Hash {
  const leaves = manifest.pieces.map((piece) => canonicalJson(piece));
  return hashFields("connito/manifest/1", hashToBytes(manifest.config), hashToBytes(manifest.tokenizer), hashToBytes(merkleRoot(leaves)));
}

/** A manifest of pieces in any order. */
export function createManifest(config: Hash, tokenizer: Hash, pieces: readonly Piece[]): Manifest {
  return { format: "connito/manifest/1", config, tokenizer, pieces: [...pieces].sort(comparePieces) };
}

/** The bytes to store and publish. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  return canonicalJson(manifest);
}

const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));
const hash = v.custom<Hash>(isHash, "not a hash");
const pieceSchema = v.strictObject({
  role: v.picklist(roles),
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(512)),
  dtype: v.custom<Dtype | "Q4_32">((value) => value === "Q4_32" || isDtype(value), "not a dtype"),
  shape: v.pipe(v.array(count), v.maxLength(maximumRank)),
  bytes: count,
  hash,
  layer: v.optional(count),
  expert: v.optional(count),
});
const manifestSchema = v.strictObject({
  format: v.literal("connito/manifest/1"),
  config: hash,
  tokenizer: hash,
  pieces: v.pipe(v.array(pieceSchema), v.maxLength(maximumTensors)),
});

/**
 * A manifest from untrusted bytes. Throws `manifest-invalid` naming the field or the piece, `manifest-root-mismatch` where
 * `expectedRoot` is given and is not its root.
 */
export function parseManifest(bytes: Uint8Array, { expectedRoot }: { readonly expectedRoot?: Hash } = {}): Manifest {
  if (bytes.length > maximumManifestBytes) throw invalid(`${bytes.length} bytes, at most ${maximumManifestBytes} are allowed`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalid("not JSON in UTF-8");
  }
  const result = v.safeParse(manifestSchema, value, { abortEarly: true });
  if (!result.success) throw invalid(`${v.getDotPath(result.issues[0]) ?? "the document"}: ${result.issues[0].message}`);
  const manifest = result.output as Manifest;
  let previous: Piece | undefined;
  for (const piece of manifest.pieces) {
    const problem = problemOf(piece, previous);
    if (problem !== undefined) throw invalid(`piece ${pieceKey(piece)}: ${problem}`);
    previous = piece;
  }
  if (expectedRoot !== undefined) {
    const root = manifestRoot(manifest);
    if (root !== expectedRoot) {
      throw new ConnitoError(`the manifest has root ${root}, expected was ${expectedRoot}`, {
        code: "manifest-root-mismatch",
        exit: "verification",
        hint: "Its source is stale or lies: fetch the manifest from another one.",
      });
    }
  }
  return manifest;
}

function problemOf(piece: Piece, previous: Piece | undefined): string | undefined {
  const ofExpert = piece.role !== "backbone";
  if ((piece.layer === undefined) === ofExpert || (piece.expert === undefined) === ofExpert) {
    return ofExpert ? "layer or expert is missing" : "has a layer or an expert";
  }
  if ((piece.dtype === "Q4_32") !== (piece.role === "stand-in")) return `dtype ${piece.dtype} in this role`;
  if (piece.role === "momentum" && piece.dtype !== "F32") return `dtype ${piece.dtype} in this role`;
  const bytes = bytesOfPiece(piece.dtype, piece.shape);
  if (bytes !== piece.bytes) return `${piece.bytes} bytes, its dtype and shape make ${bytes}`;
  if (previous !== undefined && comparePieces(previous, piece) >= 0) return "not in canonical order, or twice";
  return undefined;
}

function invalid(detail: string): ConnitoError {
  return new ConnitoError(`not a manifest: ${detail}`, {
    code: "manifest-invalid",
    exit: "verification",
    hint: "Fetch the manifest from another source.",
  });
}

export interface ManifestDifference {
  /** Pieces of the new version whose bytes the old one does not have. */
  readonly changed: readonly Piece[];
  readonly changedBytes: number;
  /** Bytes that both have. */
  readonly sharedBytes: number;
}

/** What someone who has `from` (or nothing) lacks of `to`. Bytes count, not names: a piece that only moved is shared. */
export function diffManifests(from: Manifest | undefined, to: Manifest): ManifestDifference {
  const present = new Set(from?.pieces.map((piece) => piece.hash));
  const changed = to.pieces.filter((piece) => !present.has(piece.hash));
  const changedBytes = totalBytes(changed);
  return { changed, changedBytes, sharedBytes: totalBytes(to.pieces) - changedBytes };
}

export function totalBytes(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, piece) => sum + piece.bytes, 0);
}
