/**
 * Submissions (docs/protocol.md, section 6): a miner's deltas as a safetensors file, and a validator's reading of one that anybody may
 * have made. What is wrong with the file is a SubmissionError with the verdict's status; trouble that is the reader's own (a disk, a
 * missing file, a wrong call) is any other error, and never a miner's fault.
 */
import { ConnitoError } from "../errors.ts";
import { type OpenFile, openFile, readInto, streamLocation } from "../files/reading.ts";
import { allFinite } from "../kernels/finite.ts";
import { type ArtifactDigest, createArtifactHasher } from "../protocol/artifact.ts";
import type { Hash } from "../protocol/hash.ts";
import { placeCount, placesSeed } from "../protocol/places.ts";
import { type Codec, codecNamed, type StoredPart } from "./codecs/index.ts";
import { elementsOf } from "./dtype.ts";
import { layOut, readHeaderOf, SafetensorsError, type SafetensorsHeader, type TensorToWrite, writeSafetensors } from "./safetensors.ts";
import type { Tensors, Values } from "./tensors.ts";

/** What a submission is bound to; the codec stands in it too. */
export interface SubmissionMetadata {
  readonly task: Hash;
  readonly cycle: number;
  readonly group: number;
  /** Version root that the deltas are to be added to. */
  readonly base: Hash;
}

/** `submission-malformed` or `submission-non-finite`: `status` is the verdict. */
export class SubmissionError extends ConnitoError {
  readonly status: "malformed" | "non-finite";

  constructor(status: "malformed" | "non-finite", detail: string) {
    super(`submission refused: ${detail}`, {
      code: `submission-${status}`,
      exit: "verification",
      hint: "The miner is to write it again with the task, group, base and codec of this cycle.",
    });
    this.status = status;
  }
}

function metadataStrings(metadata: SubmissionMetadata, codec: string): Record<string, string> {
  const { task, cycle, group, base } = metadata;
  return { format: "connito/submission/1", task, cycle: `${cycle}`, group: `${group}`, base, codec };
}

/** By name, the indices of the values that a submission can change, rising; undefined where its codec can say any. */
export function submissionPlaces(
  codecName: string,
  metadata: Omit<SubmissionMetadata, "base">,
  tensors: readonly { readonly name: string; readonly shape: readonly number[] }[],
): Map<string, Uint32Array> | undefined {
  const { place } = codecNamed(codecName);
  if (place === undefined) return undefined;
  return new Map(
    tensors.map(({ name, shape }) => {
      const elements = elementsOf(shape) as number;
      const seed = placesSeed(metadata, name);
      const places = new Uint32Array(placeCount(elements));
      for (let i = 0; i < places.length; i++) places[i] = place(seed, i, elements);
      return [name, places];
    }),
  );
}

/** How many bytes a submission of these tensors has at most; its header is shorter by a few where cycle and group are small numbers. */
export function submissionBytes(
  codecName: string,
  tensors: readonly { readonly name: string; readonly shape: readonly number[] }[],
): number {
  const codec = codecNamed(codecName);
  const any = "0".repeat(64);
  const metadata = { task: any, cycle: 2 ** 32 - 1, group: 2 ** 16 - 1, base: any };
  const parts = tensors.flatMap(({ name, shape }) => codec.parts(name, shape));
  return layOut(parts, metadataStrings(metadata, codec.name)).total;
}

export interface EncodeSubmissionOptions {
  readonly path: string;
  readonly metadata: SubmissionMetadata;
  readonly codec: string;
  /** New minus base, by piece name, for exactly the selected experts. */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly delta: Float32Array }[];
}

/**
 * Writes a submission and returns its artifact root. Throws SubmissionError `non-finite` for a delta that is not finite, or would not
 * be once encoded; nothing is written then.
 */
export async function encodeSubmission({ path, metadata, codec: codecName, tensors }: EncodeSubmissionOptions): Promise<ArtifactDigest> {
  const codec = codecNamed(codecName);
  const stored = tensors.flatMap(({ name, shape, delta }): TensorToWrite[] => {
    if (delta.length !== elementsOf(shape)) throw new RangeError(`${delta.length} values for ${name} [${shape}]`);
    if (!allFinite(delta)) throw nonFinite(name);
    const seed = placesSeed(metadata, name);
    const encoded = codec.encode(delta, seed);
    if (!allFinite(codec.decode(encoded, delta.length, seed))) throw nonFinite(name);
    return codec.parts(name, shape).map((part, index) => ({ ...part, data: encoded[index] as Uint8Array }));
  });
  const hasher = createArtifactHasher();
  await writeSafetensors(path, stored, metadataStrings(metadata, codec.name), (bytes) => hasher.update(bytes));
  return hasher.digest();
}

export interface SubmissionExpectations {
  readonly metadata: SubmissionMetadata;
  readonly codec: string;
  /** Piece names and shapes of the experts that the miner was to train. */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[] }[];
  readonly maximumBytes: number;
}

/**
 * A submission whose form is right; each tensor is decoded when it is read. Memory is taken for the tensors that are expected, never for what
 * the file claims. Throws SubmissionError, as `read` of what it gives does for a tensor that cannot be decoded or is not finite.
 */
export async function openSubmission(path: string, expected: SubmissionExpectations): Promise<Tensors> {
  const codec = codecNamed(expected.codec);
  const wanted = new Map(expected.tensors.map(({ name, shape }) => [name, codec.parts(name, shape)]));
  const header = await withFile(path, async (file) => {
    if (file.size > expected.maximumBytes) {
      throw new SubmissionError("malformed", `oversize: ${file.size} bytes, at most ${expected.maximumBytes} are allowed`);
    }
    const found = await readUntrustedHeader(file, [...wanted.values()].flat());
    checkMetadata(found, metadataStrings(expected.metadata, codec.name));
    checkParts(found, [...wanted.values()].flat());
    return found;
  });
  const sizes = new Map(expected.tensors.map(({ name, shape }) => [name, elementsOf(shape) as number]));
  return {
    sizes,
    read: (name, into) =>
      withFile(path, async (file) => {
        const bytes: Uint8Array[] = [];
        for (const part of wanted.get(name) as StoredPart[]) bytes.push(await readPart(file, header, part.name));
        const delta = decodePart(codec, name, bytes, sizes.get(name) as number, placesSeed(expected.metadata, name), into);
        if (!allFinite(delta)) throw nonFinite(name);
        return delta;
      }),
  };
}

/** The same, decoded as a whole: for whoever has room for all of it. */
export async function decodeSubmission(path: string, expected: SubmissionExpectations): Promise<Map<string, Float32Array>> {
  const { sizes, read } = await openSubmission(path, expected);
  const deltas = new Map<string, Float32Array>();
  for (const name of sizes.keys()) deltas.set(name, await read(name));
  return deltas;
}

async function withFile<T>(path: string, work: (file: OpenFile) => Promise<T>): Promise<T> {
  const file = await openFile(path);
  try {
    return await work(file);
  } finally {
    await file.handle.close();
  }
}

/** Root and length of a file that is on the disk already. */
export async function artifactRootOfFile(path: string): Promise<ArtifactDigest> {
  const file = await openFile(path);
  await file.handle.close();
  const hasher = createArtifactHasher();
  for await (const chunk of streamLocation({ file: path, offset: 0, bytes: file.size })) hasher.update(chunk);
  return hasher.digest();
}

async function readUntrustedHeader(file: OpenFile, parts: readonly StoredPart[]): Promise<SafetensorsHeader> {
  // Generous for any way of writing these entries, with every character escaped.
  const limit = 65_536 + parts.reduce((sum, part) => sum + 1024 + 12 * part.name.length, 0);
  try {
    return await readHeaderOf(file, limit);
  } catch (error) {
    if (error instanceof SafetensorsError) throw new SubmissionError("malformed", `${error.rule}: ${error.message}`);
    throw error;
  }
}

function checkMetadata({ metadata }: SafetensorsHeader, wanted: Record<string, string>): void {
  for (const [key, value] of Object.entries(wanted)) {
    const found = metadata.get(key);
    if (found !== value)
      throw new SubmissionError("malformed", `metadata ${key} is ${JSON.stringify(found?.slice(0, 80))}, not ${JSON.stringify(value)}`);
  }
  for (const key of metadata.keys()) {
    if (!Object.hasOwn(wanted, key)) throw new SubmissionError("malformed", `metadata has ${JSON.stringify(key.slice(0, 80))}`);
  }
}

function checkParts({ tensors }: SafetensorsHeader, parts: readonly StoredPart[]): void {
  for (const { name, dtype, shape } of parts) {
    const found = tensors.get(name);
    if (found === undefined) throw new SubmissionError("malformed", `tensor ${name} is missing`);
    if (found.dtype !== dtype) throw new SubmissionError("malformed", `tensor ${name} is ${found.dtype}, not ${dtype}`);
    if (`${found.shape}` !== `${shape}`) throw new SubmissionError("malformed", `tensor ${name} is [${found.shape}], not [${shape}]`);
  }
  if (tensors.size === parts.length) return;
  const known = new Set(parts.map((part) => part.name));
  const extra = [...tensors.keys()].find((name) => !known.has(name));
  throw new SubmissionError("malformed", `tensor ${JSON.stringify(extra?.slice(0, 120))} was not to be in it`);
}

async function readPart(file: OpenFile, header: SafetensorsHeader, name: string): Promise<Uint8Array> {
  const entry = header.tensors.get(name);
  if (entry === undefined) throw new SubmissionError("malformed", `tensor ${name} is missing`);
  const bytes = new Uint8Array(entry.bytes);
  await readInto(file, entry.offset, bytes);
  return bytes;
}

function decodePart(codec: Codec, name: string, bytes: readonly Uint8Array[], elements: number, seed: number, into?: Values): Float32Array {
  try {
    return codec.decode(bytes, elements, seed, into);
  } catch (error) {
    if (error instanceof RangeError) throw new SubmissionError("malformed", `tensor ${name}: ${error.message}`);
    throw error;
  }
}

function nonFinite(name: string): SubmissionError {
  return new SubmissionError("non-finite", `tensor ${name} holds a value that is NaN or infinite`);
}
