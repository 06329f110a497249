/** The small trained model and the texts that a simulation starts from, made once for a seed. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseSource } from "../data/sources/source.ts";
import { splitText } from "../data/split.ts";
import { fileExists } from "../files/reading.ts";
import { type Checkpoint, openCheckpoint } from "../model/checkpoint.ts";
import { familyNamed } from "../model/families/index.ts";
import { initializeCheckpoint } from "../model/initialize.ts";
import type { DomainSources } from "../steps/distribute/prepare-data.ts";
import { pretrain } from "../steps/train/pretrain.ts";
import type { Progress } from "../ui/progress.ts";
import { inventText } from "./language.ts";

/** Tokens that are predicted in a sequence. */
export const sequenceLength = 32;
const characters = 150_000;
const heldOutShare = 0.4;

/**
 * For how many steps a base is trained: one that has much to learn yet, nearly the same for all miners; and one that has learned that, so that what each
 * learns is more its own.
 */
export const pretrainSteps = { young: 120, grown: 400 } as const;
export type BaseKind = keyof typeof pretrainSteps;

export interface SimulatedBase {
  readonly checkpoint: Checkpoint;
  readonly domains: readonly DomainSources[];
}

export async function makeBase(
  directory: string,
  { threads, progress, signal, base = "young" }: { threads: number; progress: Progress; signal: AbortSignal; base?: BaseKind },
): Promise<SimulatedBase> {
  await mkdir(directory, { recursive: true });
  const texts: { readonly name: string; readonly train: string; readonly heldOut: string }[] = [];
  for (const name of ["hill", "harbour"]) {
    const whole = join(directory, `${name}.txt`);
    const domain = { name, train: join(directory, `${name}-train.txt`), heldOut: join(directory, `${name}-held-out.txt`) };
    await writeFile(whole, inventText(name, characters));
    await splitText({ files: [whole], heldOutShare, train: domain.train, heldOut: domain.heldOut });
    texts.push(domain);
  }
  const trained = join(directory, "base");
  if (!(await fileExists(join(trained, "model.safetensors")))) {
    const config = familyNamed("qwen3_moe").newConfig?.({
      vocabularySize: 257,
      hiddenSize: 32,
      layers: 2,
      heads: 2,
      keyValueHeads: 1,
      intermediateSize: 32,
      experts: 4,
      expertsPerToken: 2,
      normalizeTopK: true,
    });
    const start = await initializeCheckpoint({ directory: join(directory, "start"), config: config ?? {}, seed: "simulation" });
    const input = {
      checkpoint: start,
      files: texts.map(({ train }) => train),
      directory: trained,
      steps: pretrainSteps[base],
      sequenceLength,
      batchSequences: 16,
      learningRate: 5e-3,
      seed: 1,
    };
    await pretrain({ threads, progress, signal }, input);
  }
  const domains = texts.map(({ name, train, heldOut }) => ({
    name,
    train: [parseSource(train)],
    heldOut: [parseSource(heldOut)],
    split: [],
  }));
  return { checkpoint: await openCheckpoint(trained), domains };
}
