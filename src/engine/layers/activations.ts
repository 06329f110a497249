/**
 * What stands between two layers: one [rows, hidden] array for each model that is evaluated and each batch. They are kept in memory as
 * long as they fit, and otherwise in one scratch file that disappears with the process.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";

export interface Activations {
  read(model: number, batch: number): Promise<Float32Array>;
  /** Keeps a copy. */
  write(model: number, batch: number, values: Float32Array): Promise<void>;
  close(): Promise<void>;
}

export interface Scratch {
  /** Where the scratch file is made. */
  readonly directory: string;
  /** Bytes of activations that may stay in memory. */
  readonly memoryBytes: number;
}

/** Room for `models` times `batches` arrays of `elements` values. */
export async function openActivations(models: number, batches: number, elements: number, scratch?: Scratch): Promise<Activations> {
  if (scratch === undefined || models * batches * elements * 4 <= scratch.memoryBytes) return inMemory();
  return inFile(scratch.directory, batches, elements);
}

function inMemory(): Activations {
  const arrays = new Map<string, Float32Array>();
  return {
    read: async (model, batch) => arrays.get(`${model} ${batch}`) as Float32Array,
    write: async (model, batch, values) => {
      const place = arrays.get(`${model} ${batch}`);
      if (place === undefined) arrays.set(`${model} ${batch}`, values.slice());
      else place.set(values);
    },
    close: async () => arrays.clear(),
  };
}

async function inFile(directory: string, batches: number, elements: number): Promise<Activations> {
  const path = join(directory, `activations-${process.pid}-${Date.now()}.tmp`);
  const file = await open(path, "wx+");
  // The file lives on without a name until it is closed, so that a killed process leaves nothing.
  await rm(path);
  const bytes = elements * 4;
  const placeOf = (model: number, batch: number) => (model * batches + batch) * bytes;
  return {
    read: async (model, batch) => {
      const buffer = new ArrayBuffer(bytes);
      await readAll(file, new Uint8Array(buffer), placeOf(model, batch));
      return new Float32Array(buffer);
    },
    write: async (model, batch, values) => {
      await writeAll(file, new Uint8Array(values.buffer, values.byteOffset, values.byteLength), placeOf(model, batch));
    },
    close: () => file.close(),
  };
}

async function readAll(file: FileHandle, target: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await file.read(target, done, target.length - done, position + done);
    if (bytesRead === 0) throw new Error("the scratch file of activations ends early");
    done += bytesRead;
  }
}

async function writeAll(file: FileHandle, source: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < source.length; ) {
    const { bytesWritten } = await file.write(source, done, source.length - done, position + done);
    done += bytesWritten;
  }
}
