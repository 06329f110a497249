/**
 * Manifests: the list of a version's pieces and the root that names it (docs/protocol.md, section 4). A manifest from a peer is
 * bounded, checked field by field and compared with the root that the chain or the task names before anything in it is used.
 */
import { ConnitoError } from "../errors.ts";
import { type Hash, hashFields, hashToBytes, isHash, utf8 } from "../protocol/hash.ts";
import { createMerkleBuilder, leafHash } from "../protocol/merkle.ts";
import { isDtype } from "./dtype.ts";
import { NotJson, readLargeJson } from "./large-json.ts";
import { bytesOfPiece, comparePieces, isStandInDtype, type Piece, pieceKey, roles } from "./pieces.ts";
import { maximumRank, maximumTensors } from "./safetensors-header.ts";
import { sharedShape } from "./shared-shape.ts";

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

const rootsKnown = new WeakMap<Manifest, Hash>();

/** The version root, or the stand-ins' root. Computed once for each manifest. */
export function manifestRoot(manifest: Manifest): Hash {
  const known = rootsKnown.get(manifest);
  if (known !== undefined) return known;
  const leaves = createMerkleBuilder();
  for (const piece of manifest.pieces) leaves.addHash(leafHash(utf8(pieceJson(piece))));
  const { config, tokenizer } = manifest;
  const root = hashFields("connito/manifest/1", hashToBytes(config), hashToBytes(tokenizer), hashToBytes(leaves.root()));
  rootsKnown.set(manifest, root);
  return root;
}

/** The canonical JSON of a piece (RFC 8785), written out because there are hundreds of thousands. Its numbers are whole. */
function pieceJson({ bytes, dtype, expert, hash, layer, name, role, shape }: Piece): string {
  const ofExpert = expert === undefined ? "" : `,"expert":${expert}`;
  const ofLayer = layer === undefined ? "" : `,"layer":${layer}`;
  return `{"bytes":${bytes},"dtype":"${dtype}"${ofExpert},"hash":"${hash}"${ofLayer},"name":${JSON.stringify(name)},"role":"${role}","shape":[${shape}]}`;
}

/** A manifest of pieces in any order. */
export function createManifest(config: Hash, tokenizer: Hash, pieces: readonly Piece[]): Manifest {
  return { format: "connito/manifest/1", config, tokenizer, pieces: [...pieces].sort(comparePieces) };
}

/** What to store and publish, canonical JSON in UTF-8, in parts: whole it would take as much memory again as the manifest. */
export function* manifestText({ format, config, tokenizer, pieces }: Manifest): Generator<string> {
  yield `{"config":"${config}","format":"${format}","pieces":[`;
  for (const [index, piece] of pieces.entries()) yield index === 0 ? pieceJson(piece) : `,${pieceJson(piece)}`;
  yield `],"tokenizer":"${tokenizer}"}`;
}

/** All of `manifestText`, as bytes. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  return utf8([...manifestText(manifest)].join(""));
}

/**
 * A manifest from untrusted bytes. Throws `manifest-invalid` naming the field or the piece, `manifest-root-mismatch` where
 * `expectedRoot` is given and is not its root.
 */
export function parseManifest(bytes: Uint8Array, { expectedRoot }: { readonly expectedRoot?: Hash } = {}): Manifest {
  if (bytes.length > maximumManifestBytes) throw invalid(`${bytes.length} bytes, at most ${maximumManifestBytes} are allowed`);
  const manifest = readManifest(bytes);
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

const manifestFields = new Set(["format", "config", "tokenizer", "pieces"]);
const pieceFields = new Set(["role", "name", "dtype", "shape", "bytes", "hash", "layer", "expert"]);
const longestName = 512;
const loneSurrogate = /\p{Surrogate}/u;

/** The document field by field. By hand, because a general schema takes seconds for the manifest of a large model. */
function readManifest(bytes: Uint8Array): Manifest {
  const pieces: Piece[] = [];
  const { document, taken } = readJson(bytes, (value) => void pieces.push(readPiece(value, pieces.length)));
  const { format, config, tokenizer } = asObject(document, "the document", manifestFields, "");
  if (format !== "connito/manifest/1") throw invalid(`format: not "connito/manifest/1"`);
  if (!taken) throw invalid("pieces: no list");
  return { format, config: asHash(config, "config"), tokenizer: asHash(tokenizer, "tokenizer"), pieces };
}

function readJson(bytes: Uint8Array, take: (value: unknown) => void): ReturnType<typeof readLargeJson> {
  try {
    return readLargeJson(bytes, { name: "pieces", kind: "list", take });
  } catch (error) {
    throw error instanceof NotJson ? invalid(error.message) : error;
  }
}

/** The value itself, checked: a copy of each of so many would double the memory. */
function readPiece(value: unknown, index: number): Piece {
  if (index >= maximumTensors) throw invalid(`pieces: more than ${maximumTensors}`);
  const at = `pieces.${index}`;
  const piece = asObject(value, at, pieceFields, `${at}.`);
  const { role, name, dtype, shape, bytes, hash, layer, expert } = piece;
  if (!roles.some((known) => known === role)) throw invalid(`${at}.role: not a role`);
  if (typeof name !== "string" || name.length === 0 || name.length > longestName || loneSurrogate.test(name))
    throw invalid(`${at}.name: no text of 1 to ${longestName} characters`);
  if (!isStandInDtype(dtype) && !isDtype(dtype)) throw invalid(`${at}.dtype: not a dtype`);
  if (!Array.isArray(shape) || shape.length > maximumRank) throw invalid(`${at}.shape: no list of at most ${maximumRank} numbers`);
  for (let axis = 0; axis < shape.length; axis++) asCount(shape[axis], `${at}.shape.${axis}`);
  piece.shape = sharedShape(shape as number[]);
  asCount(bytes, `${at}.bytes`);
  asHash(hash, `${at}.hash`);
  if (layer !== undefined) asCount(layer, `${at}.layer`);
  if (expert !== undefined) asCount(expert, `${at}.expert`);
  return piece as unknown as Piece;
}

function asObject(value: unknown, at: string, fields: ReadonlySet<string>, prefix: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(`${at}: not an object`);
  for (const key in value) if (!fields.has(key)) throw invalid(`${prefix}${key.slice(0, 64)}: not a field`);
  return value as Record<string, unknown>;
}

function asHash(value: unknown, at: string): Hash {
  if (!isHash(value)) throw invalid(`${at}: not a hash`);
  return value;
}

function asCount(value: unknown, at: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw invalid(`${at}: no whole number from 0 to 2^53 - 1`);
  return value as number;
}

function problemOf(piece: Piece, previous: Piece | undefined): string | undefined {
  const ofExpert = piece.role !== "backbone";
  if ((piece.layer === undefined) === ofExpert || (piece.expert === undefined) === ofExpert) {
    return ofExpert ? "layer or expert is missing" : "has a layer or an expert";
  }
  if (isStandInDtype(piece.dtype) !== (piece.role === "stand-in")) return `dtype ${piece.dtype} in this role`;
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

export function totalBytes(all: readonly Pick<Piece, "bytes">[]): number {
  return all.reduce((sum, { bytes }) => sum + bytes, 0);
}
