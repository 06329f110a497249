/**
 * Losses measured by a program of the operator's (docs/external-trainers.md), for validators whose model wants a GPU. It is given the model, the sequences
 * and the candidates as files. Its answer must be complete, and a sample of the sequences is measured again by the engine, for every model: a program
 * that computes in another precision than fp32, or another model, is found out before anything rests on it. Where the program fails, the engine
 * measures: slower, but a window is not lost to a program.
 */
import { randomInt } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { ConnitoError } from "../../errors.ts";
import { describeEnding, type Ending, mayWorkAgain, runProgram } from "../../external/program.ts";
import { type ScoringAnswer, type ScoringJob, scoringAnswerSchema } from "../../external/scoring-job.ts";
import { readWhole } from "../../files/reading.ts";
import { type Architecture, listWeights } from "../../model/families/index.ts";
import { type TensorToWrite, writeSafetensors } from "../../model/safetensors.ts";
import type { Tensors } from "../../model/tensors.ts";
import type { LoadWeights } from "../../model/weights.ts";
import type { Progress } from "../../ui/progress.ts";
import type { HeldOutSequence } from "./held-out.ts";
import type { Losses, MeasureLosses } from "./measure-losses.ts";

export interface ExternalLosses {
  readonly command: readonly string[];
  /** Where the job and its files lie; removed by `close`. */
  readonly directory: string;
  readonly base: string;
  readonly architecture: Architecture;
  readonly config: Uint8Array;
  readonly tokenizer: Uint8Array;
  readonly sequenceLength: number;
  readonly load: LoadWeights;
  /** The engine's own measurement, for the sample, and for everything where the program fails. */
  readonly engine: MeasureLosses;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly silenceSeconds?: number;
}

/** Sequences that are measured again. */
const sampledSequences = 4;
/** Nats per token. fp32 on other hardware differs by 1e-7; TF32 or bf16 by more than this. */
const tolerance = 1e-4;
const silenceSeconds = 900;
const graceSeconds = 10;

/** The codes of what the program can do wrong. What else goes wrong, such as a full disk, would befall the engine too. */
const programFaults = new Set(["scorer-failed", "scorer-answer-invalid", "scorer-disagrees", "program-not-started"]);

/** Measures by the program while it does its work well, and by the engine from then on. A program that only died is asked again for the next sequences. */
export function measureExternally(input: ExternalLosses): { readonly losses: MeasureLosses; close(): Promise<void> } {
  const { engine, progress, signal } = input;
  const ask = createAsking(input);
  let given = false;
  return {
    async losses(sequences, candidates = []) {
      if (given || sequences.length === 0) return engine(sequences, candidates);
      try {
        return await ask(sequences, candidates);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ConnitoError) || !programFaults.has(error.code)) throw error;
        given = !error.retryable;
        progress.note(`${error.message} The built-in engine measures ${given ? "until this step is done" : "this time"}.`, {
          code: error.code,
        });
        return engine(sequences, candidates);
      }
    },
    close: () => rm(input.directory, { recursive: true, force: true }),
  };
}

/** Losses as the program says, checked. @throws scorer-failed, scorer-answer-invalid, scorer-disagrees, program-not-started; the signal's reason */
function createAsking(input: ExternalLosses): (sequences: readonly HeldOutSequence[], candidates: readonly Tensors[]) => Promise<Losses> {
  let model: Promise<ScoringJob["model"]> | undefined;
  return async (sequences, candidates) => {
    model ??= writeModel(input);
    const job = await writeJob(input, await model, sequences, candidates);
    const ending = await runProgram({
      command: [...input.command, join(input.directory, "job.json")],
      finish: input.signal,
      graceSeconds,
      silenceSeconds: input.silenceSeconds ?? silenceSeconds,
      onLine: () => undefined,
    });
    input.signal.throwIfAborted();
    if (ending.exitCode !== 0) throw failed(input.command, ending);
    const losses = await readAnswer(job, sequences.length);
    await compareSample(input.engine, sequences, candidates, losses);
    return losses;
  };
}

async function writeModel({ directory, architecture, config, tokenizer, load, signal }: ExternalLosses): Promise<ScoringJob["model"]> {
  await mkdir(directory, { recursive: true });
  const at = (name: string) => join(directory, name);
  await writeFile(at("config.json"), config);
  await writeFile(at("tokenizer.json"), tokenizer);
  const tensors = listWeights(architecture).map(({ name, shape }) =>
    streamed(name, shape, async () => {
      signal.throwIfAborted();
      return (await load([name])).get(name) as Float32Array;
    }),
  );
  await writeSafetensors(at("model.safetensors"), tensors, { format: "pt" });
  return { config: at("config.json"), tokenizer: at("tokenizer.json"), weights: at("model.safetensors") };
}

async function writeJob(
  { directory, base, architecture, sequenceLength }: ExternalLosses,
  model: ScoringJob["model"],
  sequences: readonly HeldOutSequence[],
  candidates: readonly Tensors[],
): Promise<ScoringJob> {
  const at = (name: string) => join(directory, name);
  await rm(at("losses.json"), { force: true });
  const tokens = Uint32Array.from(sequences.flatMap((sequence) => [...sequence.tokens]));
  await writeFile(at("sequences"), new Uint8Array(tokens.buffer));
  const shapes = new Map(listWeights(architecture).map(({ name, shape }) => [name, shape]));
  const named: ScoringJob["candidates"] = [];
  for (const [index, deltas] of candidates.entries()) {
    const tensors = [...deltas.sizes.keys()].map((name) =>
      streamed(name, shapes.get(name) as readonly number[], async () => (await deltas.read(name)).slice()),
    );
    const file = at(`candidate-${index}.safetensors`);
    await writeSafetensors(file, tensors, { base });
    named.push({ name: `candidate-${index}`, deltas: file });
  }
  const job: ScoringJob = {
    format: "connito/scoring-job/1",
    base,
    model,
    sequences: { file: at("sequences"), dtype: "u32", count: sequences.length },
    sequenceLength,
    candidates: named,
    output: at("losses.json"),
  };
  await writeFile(at("job.json"), `${JSON.stringify(job, undefined, 2)}\n`);
  return job;
}

function streamed(name: string, shape: readonly number[], read: () => Promise<Float32Array>): TensorToWrite {
  const data = async function* () {
    const values = await read();
    yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  };
  return { name, dtype: "F32", shape, data };
}

/** The answer, complete. Memory is taken for what may be in it. @throws scorer-answer-invalid */
async function readAnswer({ base, candidates, output }: ScoringJob, count: number): Promise<Losses> {
  const limit = 4096 + 64 * count * (candidates.length + 1);
  const bytes = await readWhole(output, limit).catch((cause: unknown) => {
    throw invalid("there is none, or no file that can be read", cause);
  });
  let parsed: ScoringAnswer;
  try {
    parsed = v.parse(scoringAnswerSchema, JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch (cause) {
    throw invalid("it is not the document that is described", cause);
  }
  if (parsed.base !== base) throw invalid("it does not name the base that the job is for");
  const wanted = ["base", ...candidates.map(({ name }) => name)];
  const extra = Object.keys(parsed.losses).find((name) => !wanted.includes(name));
  if (extra !== undefined) throw invalid(`${JSON.stringify(extra.slice(0, 80))} was not asked for`);
  const [own, ...others] = wanted.map((name) => {
    const losses = parsed.losses[name];
    if (losses?.length !== count) throw invalid(`${name} has ${losses?.length ?? "no"} losses for ${count} sequences`);
    return Float64Array.from(losses, (loss) => loss ?? Number.NaN);
  });
  return { base: own as Float64Array, candidates: others };
}

/** @throws scorer-disagrees */
async function compareSample(
  engine: MeasureLosses,
  sequences: readonly HeldOutSequence[],
  candidates: readonly Tensors[],
  claimed: Losses,
): Promise<void> {
  const places = new Set<number>();
  while (places.size < Math.min(sampledSequences, sequences.length)) places.add(randomInt(sequences.length));
  const sample = [...places];
  const measured = await engine(
    sample.map((place) => sequences[place] as HeldOutSequence),
    candidates,
  );
  const pairs = [measured.base, ...measured.candidates].map(
    (own, model) => [own, model === 0 ? claimed.base : claimed.candidates[model - 1]] as const,
  );
  for (const [model, [own, theirs]] of pairs.entries()) {
    for (const [index, place] of sample.entries()) {
      const [loss, claim] = [own[index] as number, theirs?.[place] as number];
      if (Number.isFinite(loss) ? Math.abs(loss - claim) <= tolerance : !Number.isFinite(claim)) continue;
      throw new ConnitoError(
        `The scorer says ${claim} nats per token where the engine measures ${loss}: ${model === 0 ? "the base" : `candidate ${model - 1}`}, sequence ${place}.`,
        {
          code: "scorer-disagrees",
          exit: "verification",
          hint: "Let it compute in fp32 with TF32 off, the whole sequence in one pass; docs/external-trainers.md says what is measured.",
        },
      );
    }
  }
}

function invalid(detail: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`The scorer's answer cannot be taken: ${detail}.`, {
    code: "scorer-answer-invalid",
    exit: "verification",
    hint: "docs/external-trainers.md says what the answer is to hold.",
    ...(cause === undefined ? {} : { cause }),
  });
}

function failed(command: readonly string[], ending: Ending): ConnitoError {
  return new ConnitoError(describeEnding(command, ending), {
    code: "scorer-failed",
    exit: "verification",
    retryable: mayWorkAgain(ending) && ending.killed === undefined,
    hint: "Run the same command again, or without --backend: then the built-in engine measures.",
  });
}
