/** Writing a checkpoint directory in the Hugging Face layout: config.json, tokenizer.json and model.safetensors, the tensors last. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileError } from "../files/errors.ts";
import { writeWhole } from "../files/replacing.ts";
import type { Dtype } from "./dtype.ts";
import type { TensorSpec } from "./families/index.ts";
import { type WrittenFile, writeSafetensors } from "./safetensors.ts";

export interface WriteCheckpointOptions {
  readonly directory: string;
  /** The bytes of config.json and tokenizer.json. */
  readonly config: Uint8Array;
  readonly tokenizer: Uint8Array;
  /** Small files beside them, by name. */
  readonly others?: Readonly<Record<string, Uint8Array>>;
  readonly specs: readonly TensorSpec[];
  readonly dtype: Dtype;
  /** The bytes of a tensor, or a function that streams them. */
  readonly data: (spec: TensorSpec) => Uint8Array | (() => AsyncIterable<Uint8Array> | Iterable<Uint8Array>);
}

/** Makes the directory where it is missing. Each file appears whole; model.safetensors, without which nothing opens, comes last. */
export async function writeCheckpoint(options: WriteCheckpointOptions): Promise<WrittenFile> {
  const { directory, config, tokenizer, others = {}, specs, dtype, data } = options;
  try {
    await mkdir(directory, { recursive: true });
  } catch (error) {
    throw fileError(error, directory);
  }
  const files = { ...others, "config.json": config, "tokenizer.json": tokenizer };
  for (const [name, bytes] of Object.entries(files)) await writeWhole(join(directory, name), bytes);
  const tensors = specs.map((spec) => ({ name: spec.name, dtype, shape: spec.shape, data: data(spec) }));
  // Other readers of this layout refuse a file that does not say which framework's conventions its tensors follow.
  return writeSafetensors(join(directory, "model.safetensors"), tensors, { format: "pt" });
}

/** JSON as people read it, ending in a line feed. */
export function jsonFile(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`);
}
