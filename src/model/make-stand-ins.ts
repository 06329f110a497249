/** Making the stand-ins of a version: on all cores, each piece checked as it is read, and what was made before not made again. */
import { createHash } from "node:crypto";
import { ConnitoError } from "../errors.ts";
import type { Location } from "../files/reading.ts";
import { allFinite } from "../kernels/finite.ts";
import type { AllottedLayer } from "../protocol/experts/allot-bits.ts";
import { type Hash, sha256, toHex } from "../protocol/hash.ts";
import { type ByteJob, workOnBytes } from "./byte-workers.ts";
import { requireFloatDtype } from "./dtype.ts";
import { type Architecture, listWeights } from "./families/index.ts";
import type { HashMemo } from "./hash-memo.ts";
import { createManifest, type Manifest, totalBytes } from "./manifest.ts";
import { bytesOfPiece, missingPiece, type Piece, pieceKey, pieceMismatch, pieceName, type StandInDtype } from "./pieces.ts";

export interface MakeStandInsOptions {
  /** The base version: its expert pieces are copied. */
  readonly manifest: Manifest;
  readonly locate: (hash: Hash) => Location | undefined;
  /** Stores the bytes of one stand-in under its hash. */
  readonly store: (bytes: Uint8Array, hash: Hash) => Promise<unknown>;
  /** Which stand-in was made of which piece, from earlier runs; `has` says whether its bytes are still there. */
  readonly memo?: HashMemo;
  readonly has?: (hash: Hash) => Promise<boolean>;
  /** Bytes of the experts whose stand-ins are there, and of all. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/** What the experts of a layer are given: for each, second moments of its matrices' inputs, in blocks of columns (engine/expert-moments.ts). */
export interface LayerMoments {
  readonly layer: number;
  readonly experts: readonly { readonly input: readonly Float32Array[]; readonly inner: readonly Float32Array[] }[];
}

/** Second moments of some inputs, and a name that tells them from others. */
interface Moments {
  readonly blocks: readonly Float32Array[];
  /** @throws moments-non-finite */
  readonly name: () => Hash;
}

/** How a piece is copied. */
interface Way {
  readonly encoding: StandInDtype;
  readonly moments?: Moments | undefined;
}

/**
 * Makes a stand-in of every expert piece in `q4-32` and returns their manifest. Stopped half-way it goes on where it was, with `memo` and `has`.
 * Throws `stand-in-non-finite`, `dtype-unsupported`, `piece-missing`, `piece-mismatch`, and what reading files throws.
 */
export async function makeStandIns(options: MakeStandInsOptions): Promise<Manifest> {
  const experts = expertsOf(options.manifest);
  const made = await copy(options, experts, () => ({ encoding: "Q4_32" }), 0);
  return createManifest(options.manifest.config, options.manifest.tokenizer, made);
}

/**
 * The same with the bits that each expert was allotted, rounded for what the experts are given, layer by layer as that comes. Biases, and matrices that are
 * stored with their inputs first, are rounded for themselves.
 */
export async function makeStandInsByUse(
  options: MakeStandInsOptions,
  {
    architecture,
    allotted,
    layers,
  }: { architecture: Architecture; allotted: readonly AllottedLayer[]; layers: AsyncIterable<LayerMoments> },
): Promise<Manifest> {
  const inputFirst = architecture.computation?.experts.inputFirst ?? false;
  const parts = new Map(listWeights(architecture).map(({ name, part }) => [name, part]));
  const bitsOf = new Map(allotted.map(({ layer, bits }) => [layer, bits]));
  const made: Piece[] = [];
  let done = 0;
  for await (const { layer, experts } of layers) {
    const given = experts.map(({ input, inner }, expert) => ({
      input: momentsOf(input, `input of expert ${expert} in layer ${layer}`),
      inner: momentsOf(inner, `inside of expert ${expert} in layer ${layer}`),
    }));
    const way = (piece: Piece): Way => {
      const encoding: StandInDtype = `Q${bitsOf.get(layer)?.[piece.expert as number] ?? 0}_64`;
      const part = parts.get(pieceName(piece));
      const own = given[piece.expert as number];
      if (inputFirst || piece.shape.length < 2 || own === undefined) return { encoding };
      return { encoding, moments: part === "expert.down" ? own.inner : own.input };
    };
    // Those that are rounded for the same stand one behind the other.
    const readsInside = (piece: Piece) => Number(parts.get(pieceName(piece)) === "expert.down");
    const pieces = expertsOf(options.manifest)
      .filter((piece) => piece.layer === layer)
      .sort((a, b) => (a.expert as number) - (b.expert as number) || readsInside(a) - readsInside(b));
    made.push(...(await copy(options, pieces, way, done)));
    done += totalBytes(pieces);
  }
  return createManifest(options.manifest.config, options.manifest.tokenizer, made);
}

function expertsOf(manifest: Manifest): Piece[] {
  return manifest.pieces.filter((piece) => piece.role === "expert");
}

async function copy(
  { manifest, locate, store, memo, has = async () => false, onProgress, threads, signal }: MakeStandInsOptions,
  pieces: readonly Piece[],
  wayOf: (piece: Piece) => Way,
  before: number,
): Promise<Piece[]> {
  const made: Piece[] = [];
  const total = totalBytes(expertsOf(manifest));
  let done = before;
  const wanted: { readonly piece: Piece; readonly way: Way; readonly key: string }[] = [];
  const jobs: ByteJob[] = [];
  const keep = (piece: Piece, dtype: StandInDtype, hash: Hash) => {
    made.push({ ...piece, role: "stand-in", dtype, bytes: bytesOfPiece(dtype, piece.shape) as number, hash });
    done += piece.bytes;
    onProgress?.(done, total);
  };
  for (const piece of pieces) {
    const way = wayOf(piece);
    if (way.encoding === "Q0_64") {
      await store(nothing, hashOfNothing);
      keep(piece, way.encoding, hashOfNothing);
      continue;
    }
    const key = memoKey(piece, way);
    const known = memo?.find(key);
    if (known !== undefined && (await has(known))) {
      keep(piece, way.encoding, known);
      continue;
    }
    const dtype = requireFloatDtype(piece.dtype, pieceKey(piece));
    const { file, offset } = locate(piece.hash) ?? missing(piece);
    wanted.push({ piece, way, key });
    jobs.push({
      kind: "stand-in",
      file,
      offset,
      bytes: piece.bytes,
      dtype,
      shape: piece.shape,
      encoding: way.encoding,
      moments: way.moments?.blocks,
    });
  }
  await workOnBytes(jobs, {
    threads,
    signal,
    async onResult({ hash, standIn }, index) {
      const { piece, way, key } = wanted[index] as (typeof wanted)[number];
      if (hash !== piece.hash) throw pieceMismatch(piece, `hash ${hash.slice(0, 12)} instead of ${piece.hash.slice(0, 12)}`);
      if (standIn === undefined) throw nonFinite(piece);
      await store(standIn.bytes, standIn.hash);
      await memo?.keep(key, standIn.hash);
      keep(piece, way.encoding, standIn.hash);
    },
  });
  return made;
}

const nothing = new Uint8Array();
const hashOfNothing = toHex(sha256(nothing));

/** A stand-in follows from the bytes it is made of, how they are read, and what they are rounded for. */
function memoKey({ hash, dtype, shape }: Piece, { encoding, moments }: Way): string {
  const made = `${encoding.toLowerCase().replace("_", "-")} ${hash} ${dtype} ${shape}`;
  return moments === undefined ? made : `${made} ${moments.name()}`;
}

/** Moments and their name, which is computed when it is first asked for. */
function momentsOf(blocks: readonly Float32Array[], what: string): Moments {
  let known: Hash | undefined;
  const name = () => {
    if (!blocks.every(allFinite)) throw momentsNonFinite(what);
    const hash = createHash("sha256");
    for (const block of blocks) hash.update(new Uint8Array(block.buffer, block.byteOffset, block.byteLength));
    return hash.digest("hex");
  };
  return { blocks, name: () => (known ??= name()) };
}

function momentsNonFinite(what: string): ConnitoError {
  return new ConnitoError(`the second moments of the ${what} are not finite`, {
    code: "moments-non-finite",
    exit: "invalidInput",
    hint: "The base computes infinities on the domains' texts. Make its stand-ins with --stand-ins q4-32, which measures nothing, or use another base.",
  });
}

function missing(piece: Piece): never {
  throw missingPiece(piece);
}

function nonFinite(piece: Piece): ConnitoError {
  return new ConnitoError(`${pieceKey(piece)} holds a value that is not finite`, {
    code: "stand-in-non-finite",
    exit: "invalidInput",
    hint: "This checkpoint is damaged: use another.",
  });
}
