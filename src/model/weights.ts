/**
 * From pieces to the engine's tensors and back: all of a model's weights as fp32 (stand-ins in place of missing experts), and the new
 * version that a merge makes, which shares every piece that did not change.
 */
import { createHash } from "node:crypto";
import { ConnitoError } from "../errors.ts";
import { allFinite } from "../kernels/finite.ts";
import type { LayerExperts } from "../protocol/experts/expert-manager.ts";
import type { Hash } from "../protocol/hash.ts";
import { elementsOf, fromFloat32, requireFloatDtype, toFloat32 } from "./dtype.ts";
import { type Architecture, listWeights, requireComputable } from "./families/index.ts";
import { createManifest, type Manifest } from "./manifest.ts";
import { type Piece, pieceKey, pieceName, type ReadPiece, readWholePiece } from "./pieces.ts";
import { dequantize } from "./stand-ins.ts";

/** A piece's values as fp32, checked against its hash. */
export async function readValues(piece: Piece, readPiece: ReadPiece): Promise<Float32Array> {
  const bytes = await readWholePiece(piece, readPiece);
  if (piece.dtype === "Q4_32") return dequantize(bytes, piece.shape);
  return toFloat32(requireFloatDtype(piece.dtype, pieceKey(piece)), bytes);
}

export interface LoadWeightsOptions {
  /** Of a slice plan or a manifest. Momentum is passed over. */
  readonly pieces: readonly Piece[];
  readonly readPiece: ReadPiece;
  readonly architecture: Architecture;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Every weight of the model by name (a fused tensor is one for each expert), in fp32. Throws `config-not-computable`, `weights-mismatch` where the pieces are not exactly the
 * model's tensors, and what reading a piece throws.
 */
export async function loadWeights(options: LoadWeightsOptions): Promise<Map<string, Float32Array>> {
  const { readPiece, architecture, onProgress, signal } = options;
  requireComputable(architecture);
  const pieces = options.pieces.filter((piece) => piece.role !== "momentum");
  const sources = new Map(pieces.map((piece) => [pieceName(piece), piece]));
  const weights = new Map<string, Float32Array>();
  for (const { name, shape } of listWeights(architecture)) {
    signal?.throwIfAborted();
    const piece = sources.get(name);
    if (piece === undefined) throw mismatch(`no piece holds ${name}`);
    if (`${piece.shape}` !== `${shape}`) throw mismatch(`${pieceKey(piece)} has shape [${piece.shape}]`);
    weights.set(name, await readValues(piece, readPiece));
    onProgress?.(weights.size, pieces.length);
  }
  const unused = pieces.length - weights.size;
  if (unused !== 0) throw mismatch(`${unused} pieces belong to no tensor of the model, or stand there twice`);
  return weights;
}

/** The pieces of one role of the selected experts, in canonical order. */
export function piecesOf(manifest: Manifest, role: "expert" | "momentum", selection: readonly LayerExperts[]): Piece[] {
  const selected = new Set(selection.flatMap(({ layer, experts }) => experts.map((expert) => `${layer}/${expert}`)));
  return manifest.pieces.filter((piece) => piece.role === role && selected.has(`${piece.layer}/${piece.expert}`));
}

/** Values of some pieces by piece name: base weights and momentum for the outer step. */
export async function readAllValues(pieces: readonly Piece[], readPiece: ReadPiece): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const piece of pieces) values.set(pieceName(piece), await readValues(piece, readPiece));
  return values;
}

export interface TensorUpdate {
  /** fp32, to be rounded to the tensor's own dtype. */
  readonly weights: Float32Array;
  readonly momentum: Float32Array;
}

export interface NewVersion {
  readonly manifest: Manifest;
  /** The bytes that the previous version does not have, by hash. */
  readonly objects: Map<Hash, Uint8Array>;
}

/**
 * The version after a merge: `updates` gives new weights and momentum by the piece name of an expert tensor; everything else is shared.
 * Objects of F32 pieces share the updates' memory: store them before changing it.
 * Throws `weights-mismatch` for a name or length that is not the version's, `weights-non-finite` for a value that would not be finite
 * in the tensor's dtype.
 */
export function newVersion({ manifest, updates }: { manifest: Manifest; updates: ReadonlyMap<string, TensorUpdate> }): NewVersion {
  const objects = new Map<Hash, Uint8Array>();
  const store = (piece: Omit<Piece, "hash" | "bytes">, bytes: Uint8Array): Piece => {
    const hash = createHash("sha256").update(bytes).digest("hex");
    objects.set(hash, bytes);
    return { ...piece, bytes: bytes.length, hash };
  };
  const pieces: Piece[] = [];
  let used = 0;
  for (const piece of manifest.pieces) {
    const update = piece.role === "backbone" ? undefined : updates.get(pieceName(piece));
    if (update === undefined) pieces.push(piece);
    if (update === undefined || piece.role !== "expert") continue;
    const { weights, momentum } = update;
    const elements = elementsOf(piece.shape);
    if (weights.length !== elements || momentum.length !== elements) throw mismatch(`the update of ${pieceKey(piece)} has another length`);
    const dtype = requireFloatDtype(piece.dtype, pieceKey(piece));
    const encoded = fromFloat32(dtype, weights);
    if (!allFinite(toFloat32(dtype, encoded)) || !allFinite(momentum)) throw nonFinite(piece);
    pieces.push(store(piece, encoded), store({ ...piece, role: "momentum", dtype: "F32" }, fromFloat32("F32", momentum)));
    used++;
  }
  if (used !== updates.size) throw mismatch(`${updates.size - used} updates are of no expert tensor of this version`);
  return { manifest: createManifest(manifest.config, manifest.tokenizer, pieces), objects };
}

function mismatch(detail: string): ConnitoError {
  return new ConnitoError(`weights and model disagree: ${detail}`, {
    code: "weights-mismatch",
    exit: "verification",
    hint: "Use the manifest and the stand-ins that the task and the chain name.",
  });
}

function nonFinite(piece: Piece): ConnitoError {
  return new ConnitoError(`the new ${pieceKey(piece)} would hold a value that is not finite`, {
    code: "weights-non-finite",
    exit: "verification",
    hint: "Leave the contributors of this tensor out of the merge.",
  });
}
