/**
 * safetensors files: reading the header of one that may be hostile, and writing one as a stream. What is written equals, byte for
 * byte, what the format's own library writes for the same tensors: sorted by element type and name, header padded with spaces.
 */

import type { FileHandle } from "node:fs/promises";
import { ConnitoError } from "../errors.ts";
import { type Location, type OpenFile, openFile, readInto, streamLocation, transferBytes } from "../files/reading.ts";
import { replaceFile, writeAll } from "../files/replacing.ts";
import { bytesOf, type Dtype, dtypeRank } from "./dtype.ts";
import { maximumHeaderBytes, parseHeader, SafetensorsError, type SafetensorsHeader } from "./safetensors-header.ts";
import { compareText } from "./text.ts";

export { parseHeader, SafetensorsError, type SafetensorsHeader, type SafetensorsRule, type TensorEntry } from "./safetensors-header.ts";

/**
 * The checked header of a file. No memory is taken for a header that is longer than `limit` or than the file.
 * Throws SafetensorsError, or what `openFile` and `readInto` throw.
 */
export async function readHeader(path: string, limit: number = maximumHeaderBytes): Promise<SafetensorsHeader> {
  const file = await openFile(path);
  try {
    return await readHeaderOf(file, limit);
  } finally {
    await file.handle.close();
  }
}

/** As `readHeader`, of a file that is open already. */
export async function readHeaderOf(file: OpenFile, limit: number = maximumHeaderBytes): Promise<SafetensorsHeader> {
  const { path, size } = file;
  if (size < 8) throw new SafetensorsError(path, "file-shorter-than-length", `${size} bytes do not hold the header's length`);
  const prefix = new Uint8Array(8);
  await readInto(file, 0, prefix);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(limit)) {
    const isPointer = Buffer.from(prefix).toString("latin1") === "version ";
    const found = isPointer ? "a pointer of Git LFS, and not the file itself (git lfs pull fetches it)" : `a header of ${length} bytes`;
    throw new SafetensorsError(path, "header-over-limit", `${found}; at most ${limit} bytes are allowed`);
  }
  if (length > BigInt(size - 8)) {
    throw new SafetensorsError(path, "header-beyond-file", `a header of ${length} bytes in a file of ${size} bytes`);
  }
  const json = new Uint8Array(Number(length));
  await readInto(file, 8, json);
  return parseHeader(json, size, path);
}

/** The bytes of one tensor, a chunk at a time. */
export function streamTensor(path: string, entry: { readonly offset: number; readonly bytes: number }): AsyncGenerator<Uint8Array> {
  return streamLocation({ file: path, offset: entry.offset, bytes: entry.bytes });
}

export interface TensorToWrite {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** The bytes, or a function that begins to deliver them when their turn has come. */
  readonly data: Uint8Array | (() => AsyncIterable<Uint8Array> | Iterable<Uint8Array>);
}

export interface WrittenFile {
  readonly bytes: number;
  /** Where each tensor lies. */
  readonly tensors: Map<string, Location>;
}

/**
 * Writes a file in one pass and syncs it; it appears under its name when it is complete. `onBytes` sees every byte in order
 * (to hash what is written). Throws `tensor-length` when a tensor delivers more or fewer bytes than its shape, and what
 * `replaceFile` throws.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
  onBytes: (bytes: Uint8Array) => void = () => {},
): Promise<WrittenFile> {
  const { ordered, header, offsets, total } = layOut(tensors, metadata);
  await replaceFile(path, async (handle) => {
    const file = gatherWrites(handle);
    const put = (bytes: Uint8Array) => {
      onBytes(bytes);
      return file.write(bytes);
    };
    await put(header);
    for (const tensor of ordered) {
      const wanted = bytesOf(tensor.dtype, tensor.shape) as number;
      let got = 0;
      for await (const chunk of tensor.data instanceof Uint8Array ? [tensor.data] : tensor.data()) {
        got += chunk.length;
        if (got > wanted) break;
        await put(chunk);
      }
      if (got !== wanted) throw lengthError(tensor, got, wanted);
    }
    await file.flush();
  });
  const locations = ordered.map((tensor, index): [string, Location] => {
    return [tensor.name, { file: path, offset: offsets[index] as number, bytes: bytesOf(tensor.dtype, tensor.shape) as number }];
  });
  return { bytes: total, tensors: new Map(locations) };
}

/** Small writes one after another, as few large ones. */
function gatherWrites(handle: FileHandle): { write(bytes: Uint8Array): Promise<void>; flush(): Promise<void> } {
  const gathered = new Uint8Array(transferBytes);
  let pending = 0;
  const flush = async () => {
    const bytes = pending;
    pending = 0;
    await writeAll(handle, gathered.subarray(0, bytes));
  };
  return {
    flush,
    async write(bytes) {
      if (pending + bytes.length > gathered.length) await flush();
      if (bytes.length >= gathered.length) return writeAll(handle, bytes);
      gathered.set(bytes, pending);
      pending += bytes.length;
    },
  };
}

export interface FileLayout<Tensor> {
  /** The tensors in the order in which they lie in the file. */
  readonly ordered: readonly Tensor[];
  /** The eight bytes of length and the header. */
  readonly header: Uint8Array;
  /** Where each of `ordered` begins in the file. */
  readonly offsets: readonly number[];
  /** The file's bytes. */
  readonly total: number;
}

/** Where everything will lie. Throws TypeError for a name that is there twice, or a shape that has no exact number of bytes. */
export function layOut<Tensor extends Pick<TensorToWrite, "name" | "dtype" | "shape">>(
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>>,
): FileLayout<Tensor> {
  const ordered = [...tensors].sort((a, b) => dtypeRank(b.dtype) - dtypeRank(a.dtype) || compareText(a.name, b.name));
  const members: string[] = [];
  const strings = Object.entries(metadata).sort(([a], [b]) => compareText(a, b));
  if (strings.length > 0)
    members.push(`"__metadata__":{${strings.map((pair) => pair.map((text) => JSON.stringify(text)).join(":")).join(",")}}`);
  const begins: number[] = [];
  const names = new Set<string>();
  let end = 0;
  for (const { name, dtype, shape } of ordered) {
    const bytes = bytesOf(dtype, shape);
    if (names.has(name) || name === "__metadata__" || bytes === undefined) {
      throw new TypeError(`tensor ${name} of ${dtype} [${shape}] cannot be written`);
    }
    names.add(name);
    begins.push(end);
    members.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${end},${end + bytes}]}`);
    end += bytes;
  }
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20, 8 + json.length);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return { ordered, header, offsets: begins.map((begin) => header.length + begin), total: header.length + end };
}

function lengthError(tensor: TensorToWrite, got: number, wanted: number): ConnitoError {
  return new ConnitoError(`${tensor.name} delivered ${got > wanted ? "more than " : ""}${Math.min(got, wanted)} of ${wanted} bytes`, {
    code: "tensor-length",
    exit: "verification",
    hint: "The source of this tensor is truncated or not what its manifest says: fetch it again.",
  });
}
