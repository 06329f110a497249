/**
 * A training run's checkpoint: weights, optimizer state and place in the data, in one safetensors file that is replaced atomically.
 * Bound to the cycle and the version it started from: it is never resumed on another.
 */

import { rm, stat } from "node:fs/promises";
import type { LayerTrainer } from "../../engine/layers/layer-trainer.ts";
import type { Trainer } from "../../engine/training.ts";
import { ConnitoError } from "../../errors.ts";
import { makeDirectory } from "../../files/replacing.ts";
import { elementsOf, toFloat32 } from "../../model/dtype.ts";
import { readHeader, streamTensor, type TensorEntry, type TensorToWrite, writeSafetensors } from "../../model/safetensors.ts";
import { placed, type Tensors } from "../../model/tensors.ts";
import type { Hash } from "../../protocol/hash.ts";
import type { Workspace } from "../../workspace/workspace.ts";

export interface TrainingState {
  readonly steps: number;
  readonly tokens: number;
  /** Seconds spent in steps. */
  readonly seconds: number;
  /** Notes a finished step. */
  advance(step: { readonly tokens: number; readonly seconds: number }): void;
  /** Copies what there is to keep; the next step may follow at once, while `write` writes it. It survives a power cut once that returns. */
  snapshot(): Promise<{ write(): Promise<void> }>;
  /** Removes the checkpoint once the submission is safe. */
  remove(): Promise<void>;
}

/** Resumes the cycle's checkpoint into the trainer if there is one. @throws wrong-base */
export async function openTrainingState(
  workspace: Workspace,
  cycle: number,
  base: Hash,
  trainer: Trainer | LayerTrainer,
): Promise<TrainingState> {
  await makeDirectory(workspace.layout.cycle(cycle));
  const file = workspace.layout.cycle(cycle, "training.safetensors");
  let steps = 0;
  let tokens = 0;
  let seconds = 0;

  if (await exists(file)) {
    const { tensors: entries, metadata } = await readHeader(file);
    if (metadata.get("base") !== base) {
      throw new ConnitoError(
        `The training checkpoint ${file} was made on version ${metadata.get("base")}, but cycle ${cycle} trains ${base}.`,
        {
          code: "wrong-base",
          exit: "verification",
          hint: "The chain and this state directory disagree. Check --network and --state-dir; remove the file to train anew.",
        },
      );
    }
    steps = Number(metadata.get("steps"));
    tokens = Number(metadata.get("tokens"));
    seconds = Number(metadata.get("seconds") ?? 0);
    const values = async (name: string) => {
      const entry = entries.get(name) as TensorEntry;
      return toFloat32("F32", await collect(streamTensor(file, entry), entry.bytes));
    };
    if ("restoreFrom" in trainer) {
      const sizes = new Map([...entries].map(([name, { shape }]) => [name, elementsOf(shape) as number]));
      await trainer.restoreFrom(steps, { sizes, read: async (name, into) => placed(await values(name), into) });
    } else {
      const tensors = new Map<string, Float32Array>();
      for (const name of entries.keys()) tensors.set(name, await values(name));
      await trainer.restore({ step: steps, tensors });
    }
  }

  return {
    get steps() {
      return steps;
    },
    get tokens() {
      return tokens;
    },
    get seconds() {
      return seconds;
    },
    advance(step) {
      steps += 1;
      tokens += step.tokens;
      seconds += step.seconds;
    },
    async snapshot() {
      const metadata = { base, steps: String(steps), tokens: String(tokens), seconds: String(seconds) };
      if ("inspect" in trainer) {
        // What is trained layer by layer has no room for a copy: it is written at once, and the next step waits.
        await trainer.inspect(({ tensors }) =>
          writeSafetensors(
            file,
            [...tensors.sizes].map(([name, size]) => streamed(name, size, tensors)),
            metadata,
          ),
        );
        return { write: async () => undefined };
      }
      const { tensors } = await trainer.state();
      const entries = [...tensors].map(([name, data]) => ({
        name,
        dtype: "F32" as const,
        shape: [data.length],
        data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      }));
      return { write: () => writeSafetensors(file, entries, metadata).then(() => undefined) };
    },
    async remove() {
      await rm(file, { force: true });
    },
  };
}

function streamed(name: string, size: number, tensors: Tensors): TensorToWrite {
  const data = async function* () {
    const values = await tensors.read(name);
    yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  };
  return { name, dtype: "F32", shape: [size], data };
}

async function collect(chunks: AsyncIterable<Uint8Array>, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  for await (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
}
