/**
 * From pieces to the engine's tensors and back: all of a model's weights as fp32 (stand-ins in place of missing experts), and the new
 * version that a merge makes, which shares every piece that did not change.
 */
import { ConnitoError } from "../errors.ts";
import { allFinite } from "../kernels/finite.ts";
import type { LayerExperts } from "../protocol/experts/expert-manager.ts";
import type { Hash } from "../protocol/hash.ts";
import { elementsOf, fromFloat32, requireFloatDtype, toFloat32 } from "./dtype.ts";
import { type Architecture, familyNamed, listWeights, requireComputable } from "./families/index.ts";
import { readLowBits } from "./low-bits.ts";
import { createManifest, type Manifest } from "./manifest.ts";
import { isStandInDtype, lowBitsOf, type Piece, pieceKey, pieceName, type ReadPiece, readWholePiece, type StandInDtype } from "./pieces.ts";
import { dequantize, quantize } from "./stand-ins.ts";
import { placed, type Tensors, type Values } from "./tensors.ts";

/** A piece's values as fp32, checked against its hash; in `into` where that is given. */
export async function readValues(piece: Piece, readPiece: ReadPiece, into?: Values): Promise<Float32Array> {
  if (piece.dtype === "F32" && into !== undefined) {
    await readWholePiece(piece, readPiece, fromFloat32("F32", into));
    return into;
  }
  const bytes = await readWholePiece(piece, readPiece);
  if (isStandInDtype(piece.dtype)) return placed(readStandIn(bytes, piece.dtype, piece.shape), into);
  return toFloat32(requireFloatDtype(piece.dtype, pieceKey(piece)), bytes, into);
}

/** fp32 values of a stand-in. Throws RangeError where the bytes do not fit the shape. */
function readStandIn(bytes: Uint8Array, dtype: StandInDtype, shape: readonly number[]): Float32Array {
  const bits = lowBitsOf(dtype);
  if (bits === undefined) return dequantize(bytes, shape);
  return bits === 0 ? new Float32Array(elementsOf(shape) as number) : readLowBits(bytes, shape, bits);
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
 * Every weight of the model by name (a fused tensor is one for each expert), in fp32. Throws what `weightLoader` and what reading a piece throws.
 */
export async function loadWeights(options: LoadWeightsOptions): Promise<Map<string, Float32Array>> {
  const { architecture, onProgress, signal } = options;
  const load = weightLoader(options);
  const weights = new Map<string, Float32Array>();
  const specs = listWeights(architecture);
  for (const { name } of specs) {
    signal?.throwIfAborted();
    weights.set(name, (await load([name])).get(name) as Float32Array);
    onProgress?.(weights.size, specs.length);
  }
  return weights;
}

/** Gives weights by name, in fp32, each read from its piece when it is asked for. */
export type LoadWeights = (names: readonly string[]) => Promise<Map<string, Float32Array>>;

/** An expert that is there goes before its stand-in; experts without bits share zeros. Throws `config-not-computable`, and `weights-mismatch` where the pieces are not exactly the model's tensors. */
export function weightLoader(options: Pick<LoadWeightsOptions, "pieces" | "readPiece" | "architecture">): LoadWeights {
  const { readPiece, architecture } = options;
  requireComputable(architecture);
  const there = new Set(options.pieces.filter(({ role }) => role === "expert").map(pieceName));
  const isWeight = (piece: Piece) => piece.role !== "momentum" && !(piece.role === "stand-in" && there.has(pieceName(piece)));
  const pieces = options.pieces.filter(isWeight);
  const sources = new Map(pieces.map((piece) => [pieceName(piece), piece]));
  const specs = listWeights(architecture);
  for (const { name, shape } of specs) {
    const piece = sources.get(name);
    if (piece === undefined) throw mismatch(`no piece holds ${name}`);
    if (`${piece.shape}` !== `${shape}`) throw mismatch(`${pieceKey(piece)} has shape [${piece.shape}]`);
  }
  const { carried } = familyNamed(architecture.family).unlisted(architecture);
  const unused = pieces.filter(({ name }) => !carried.some((prefix) => name.startsWith(prefix))).length - specs.length;
  if (unused !== 0) throw mismatch(`${unused} pieces belong to no tensor of the model, or stand there twice`);
  const zeros = new Map<number, Float32Array>();
  const valuesOf = async (piece: Piece) => {
    if (piece.dtype !== "Q0_64") return readValues(piece, readPiece);
    const length = elementsOf(piece.shape) as number;
    const shared = zeros.get(length) ?? (await readValues(piece, readPiece));
    zeros.set(length, shared);
    return shared;
  };
  return async (names) => {
    const weights = new Map<string, Float32Array>();
    for (const name of names) weights.set(name, await valuesOf(sources.get(name) as Piece));
    return weights;
  };
}

/** The pieces of one role of the selected experts, in canonical order. */
export function piecesOf(manifest: Manifest, role: "expert" | "momentum", selection: readonly LayerExperts[]): Piece[] {
  const selected = new Set(selection.flatMap(({ layer, experts }) => experts.map((expert) => `${layer}/${expert}`)));
  return manifest.pieces.filter((piece) => piece.role === role && selected.has(`${piece.layer}/${piece.expert}`));
}

/** What some pieces hold, by piece name, each checked when it is read. */
export function tensorsOfPieces(pieces: readonly Piece[], readPiece: ReadPiece): Tensors {
  const byName = new Map(pieces.map((piece) => [pieceName(piece), piece]));
  return {
    sizes: new Map([...byName].map(([name, { shape }]) => [name, elementsOf(shape) as number])),
    read: (name, into) => readValues(byName.get(name) as Piece, readPiece, into),
  };
}

export interface TensorUpdate {
  /** fp32, to be rounded to the tensor's own dtype. */
  readonly weights: Float32Array;
  readonly momentum: Float32Array;
}

export interface NewVersionOptions {
  readonly manifest: Manifest;
  /** Piece names of the expert tensors that change. */
  readonly changed: ReadonlySet<string>;
  /** New weights and momentum of one of them; asked once each, in the order of the manifest. */
  readonly update: (name: string, piece: Piece) => Promise<TensorUpdate>;
  /** Keeps the bytes of a new piece, and gives their hash. */
  readonly keep: (bytes: Uint8Array) => Promise<Hash>;
}

/**
 * The version after a merge: the expert tensors that changed have new pieces of weights and momentum, and a stand-in of what they are now (that of the
 * base would have other groups learn what is learned already); everything else is shared. One tensor is in memory at a time. Throws `weights-mismatch` for a name or length that is not the version's, `weights-non-finite` for a value that would not
 * be finite in the tensor's dtype.
 */
export async function newVersion({ manifest, changed, update, keep }: NewVersionOptions): Promise<Manifest> {
  const store = async (piece: Omit<Piece, "hash" | "bytes">, bytes: Uint8Array): Promise<Piece> => ({
    ...piece,
    bytes: bytes.length,
    hash: await keep(bytes),
  });
  const pieces: Piece[] = [];
  let used = 0;
  for (const piece of manifest.pieces) {
    const name = pieceName(piece);
    if (piece.role === "backbone" || !changed.has(name)) pieces.push(piece);
    else if (piece.role === "expert") {
      const { weights, momentum } = await update(name, piece);
      const elements = elementsOf(piece.shape);
      if (weights.length !== elements || momentum.length !== elements)
        throw mismatch(`the update of ${pieceKey(piece)} has another length`);
      const dtype = requireFloatDtype(piece.dtype, pieceKey(piece));
      const encoded = fromFloat32(dtype, weights);
      const values = toFloat32(dtype, encoded);
      if (!allFinite(values) || !allFinite(momentum)) throw nonFinite(piece);
      pieces.push(
        await store(piece, encoded),
        await store({ ...piece, role: "momentum", dtype: "F32" }, fromFloat32("F32", momentum)),
        await store({ ...piece, role: "stand-in", dtype: "Q4_32" }, quantize(values, piece.shape)),
      );
      used++;
    }
  }
  if (used !== changed.size) throw mismatch(`${changed.size - used} updates are of no expert tensor of this version`);
  return createManifest(manifest.config, manifest.tokenizer, pieces);
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
