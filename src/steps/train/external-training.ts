/**
 * Training by a program of the operator's (docs/external-trainers.md). It is given a job, told when to stop, and never trusted: of its result
 * names, shapes, base and finiteness are checked, and the loss is measured again before and after.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openEvaluator } from "../../engine/evaluator.ts";
import { placeRate } from "../../engine/places.ts";
import { ConnitoError } from "../../errors.ts";
import { parseLine, type TrainingJob } from "../../external/job.ts";
import { describeEnding, type Ending, mayWorkAgain, runProgram } from "../../external/program.ts";
import { openFile, readInto } from "../../files/reading.ts";
import { allFinite } from "../../kernels/finite.ts";
import { elementsOf, isFloatDtype, toFloat32 } from "../../model/dtype.ts";
import type { Architecture } from "../../model/families/index.ts";
import { type Piece, pieceName } from "../../model/pieces.ts";
import { readHeaderOf, SafetensorsError, writeSafetensors } from "../../model/safetensors.ts";
import type { Hash } from "../../protocol/hash.ts";
import type { Task } from "../../protocol/task.ts";
import type { Progress } from "../../ui/progress.ts";
import { type Row, writeWalk } from "./walk-file.ts";

export interface ExternalTraining {
  readonly command: readonly string[];
  /** Where the job, its files and the program's own checkpoints lie; kept until the submission is made. */
  readonly directory: string;
  readonly task: Task;
  readonly taskHash: Hash;
  readonly cycle: number;
  readonly group: number;
  readonly base: Hash;
  readonly architecture: Architecture;
  readonly config: Uint8Array;
  readonly tokenizer: Uint8Array;
  /** Every tensor of the model by name, fp32. */
  readonly weights: ReadonlyMap<string, Float32Array>;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly selected: readonly Piece[];
  /** The values that the submission can say, where it cannot say all. */
  readonly places?: ReadonlyMap<string, Uint32Array> | undefined;
  readonly data: TrainingJob["data"];
  /** What is to be trained on first, where that matters. */
  readonly walk?: Iterable<Row> | undefined;
  /** Sequences on which the result's loss is measured again. */
  readonly sample: readonly Int32Array[];
  readonly seed: number;
  readonly maximumSteps?: number | undefined;
  /** When the train window opens; it may have. */
  readonly opens: Date;
  readonly deadline: Date;
  /** Aborted when the window ends. */
  readonly finish: AbortSignal;
  readonly signal: AbortSignal;
  readonly threads: number;
  readonly progress: Progress;
  /** Each step that the program claims. */
  readonly onStep?: (step: { step: number; loss: number | null; tokens: number }) => void;
  readonly graceSeconds?: number;
  readonly silenceSeconds?: number;
}

export interface ExternalResult {
  /** New values of the tensors that changed. */
  readonly trained: Map<string, Float32Array>;
  /** What the program says it did. */
  readonly steps: number;
  readonly tokens: number;
  /** Measured here, on the sample: nats per token. */
  readonly lossBefore: number;
  readonly loss: number;
}

/** How long a program may take to finish once it is asked to. */
export const graceSeconds = 60;
const silenceSeconds = 300;

/** @throws deadline-missed where no step was done in time; trainer-failed, trainer-result-invalid, trainer-result-worse, program-not-started; the signal's reason */
export async function trainExternally(input: ExternalTraining): Promise<ExternalResult> {
  const job = await writeJob(input);
  const jobFile = join(input.directory, "job.json");
  const finish = AbortSignal.any([input.finish, input.signal]);
  let steps = 0;
  let tokens = 0;
  input.progress.start(`Training group ${input.group} with ${input.command[0]}`, input.maximumSteps);
  const ending = await runProgram({
    command: [...input.command, jobFile],
    finish,
    graceSeconds: job.graceSeconds,
    silenceSeconds: input.silenceSeconds ?? silenceSeconds,
    onLine(text) {
      const line = parseLine(text);
      if (line?.event === "note") input.progress.note(line.text);
      if (line?.event !== "step") return;
      steps = line.step;
      tokens = line.tokens;
      input.onStep?.(line);
      input.progress.update(steps, line.loss === null ? undefined : `loss ${line.loss.toFixed(4)} (claimed)`);
    },
  });
  try {
    input.signal.throwIfAborted();
    // A result that is there counts, however the program ended: launchers fail after their workers have saved.
    const given = await readResult(job).catch((error: unknown) => {
      throw ending.exitCode === 0 ? error : failed(input, ending, steps);
    });
    const trained = atPlaces(input, given);
    const measured = await measureAgain(input, trained);
    input.progress.succeed(`Trained ${steps} steps: loss ${measured.lossBefore.toFixed(4)} -> ${measured.loss.toFixed(4)}, measured here`);
    return { trained, steps, tokens, ...measured };
  } catch (error) {
    input.progress.fail();
    throw error;
  }
}

/** Removes everything of a job, once its submission is safe. */
export async function removeJob(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}

/** Writes the job and the files that it names. The same job twice is the same files: a program finds its checkpoints again. */
async function writeJob(input: ExternalTraining): Promise<TrainingJob> {
  const { directory, task } = input;
  const at = (name: string) => join(directory, name);
  const checkpoint = at("checkpoint");
  await mkdir(checkpoint, { recursive: true });
  // A result of an earlier run was read by then, or was not good.
  await rm(at("result.safetensors"), { force: true });
  await writeFile(at("config.json"), input.config);
  await writeFile(at("tokenizer.json"), input.tokenizer);
  const tensors = [...input.weights].map(([name, data]) => ({
    name,
    dtype: "F32" as const,
    shape: input.shapes.get(name) as readonly number[],
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  }));
  await writeSafetensors(at("model.safetensors"), tensors, { format: "pt" });
  const { cycle, group, base } = input;
  const job: TrainingJob = {
    format: "connito/training-job/1",
    ...{ task: input.taskHash, cycle, group, base },
    model: { config: at("config.json"), tokenizer: at("tokenizer.json"), weights: at("model.safetensors") },
    trainable: input.selected.map((piece) => ({ name: pieceName(piece), shape: [...piece.shape] })),
    data: [...input.data],
    ...(input.walk === undefined ? {} : { walk: await writeWalk(at("walk"), input.walk) }),
    sequenceLength: task.data.sequenceLength,
    seed: input.seed,
    hyperparameters: task.inner,
    ...(input.places === undefined ? {} : await writePlaces(input, input.places)),
    ...(input.maximumSteps === undefined ? {} : { maximumSteps: input.maximumSteps }),
    opens: input.opens.toISOString(),
    deadline: input.deadline.toISOString(),
    graceSeconds: input.graceSeconds ?? graceSeconds,
    checkpoint,
    output: at("result.safetensors"),
  };
  await writeFile(at("job.json"), `${JSON.stringify(job, undefined, 2)}\n`);
  return job;
}

/** What the job says of places: a mask of each tensor, and a learning rate for few values. */
async function writePlaces(
  { directory, selected, task: { inner } }: ExternalTraining,
  places: ReadonlyMap<string, Uint32Array>,
): Promise<Pick<TrainingJob, "places" | "hyperparameters">> {
  const file = join(directory, "places.safetensors");
  const masks = selected.map((piece) => {
    const data = new Uint8Array(elementsOf(piece.shape) as number);
    for (const index of places.get(pieceName(piece)) as Uint32Array) data[index] = 1;
    return { name: pieceName(piece), dtype: "U8" as const, shape: piece.shape, data };
  });
  await writeSafetensors(file, masks, { format: "pt" });
  return { places: file, hyperparameters: { ...inner, learningRate: inner.learningRate * placeRate } };
}

/** What the submission will say of a result, and all that is measured of it. */
function atPlaces({ weights, places }: ExternalTraining, trained: Map<string, Float32Array>): Map<string, Float32Array> {
  if (places === undefined) return trained;
  return new Map(
    [...trained].map(([name, values]) => {
      const kept = (weights.get(name) as Float32Array).slice();
      for (const index of places.get(name) as Uint32Array) kept[index] = values[index] as number;
      return [name, kept];
    }),
  );
}

/** The tensors of the result. Memory is taken for what may be in it, never for what the file claims. @throws trainer-result-invalid */
export async function readResult(job: Pick<TrainingJob, "output" | "base" | "trainable">): Promise<Map<string, Float32Array>> {
  const shapes = new Map(job.trainable.map(({ name, shape }) => [name, shape]));
  const limit = 65_536 + job.trainable.reduce((sum, { name }) => sum + 1024 + 12 * name.length, 0);
  const file = await openFile(job.output).catch((cause: unknown) => {
    throw invalid("there is none, or no file that can be read", cause);
  });
  try {
    const { tensors, metadata } = await readHeaderOf(file, limit).catch((cause: unknown) => {
      throw cause instanceof SafetensorsError ? invalid(`${cause.rule}: ${cause.message}`, cause) : cause;
    });
    if (metadata.get("base") !== job.base) throw invalid("its metadata does not name the base that the job is for");
    if (tensors.size === 0) throw invalid("nothing changed");
    const result = new Map<string, Float32Array>();
    for (const [name, { dtype, shape, offset, bytes }] of tensors) {
      const wanted = shapes.get(name);
      if (wanted === undefined) throw invalid(`${JSON.stringify(name.slice(0, 120))} was not to be trained`);
      if (`${shape}` !== `${wanted}` || !isFloatDtype(dtype)) throw invalid(`${name} is ${dtype} [${shape}], not a float [${wanted}]`);
      const data = new Uint8Array(bytes);
      await readInto(file, offset, data);
      const values = toFloat32(dtype, data);
      if (values.length !== elementsOf(wanted) || !allFinite(values)) throw invalid(`${name} holds a value that is NaN or infinite`);
      result.set(name, values);
    }
    return result;
  } finally {
    await file.handle.close();
  }
}

/** @throws trainer-result-worse */
async function measureAgain(input: ExternalTraining, trained: Map<string, Float32Array>): Promise<{ lossBefore: number; loss: number }> {
  const { architecture, weights, threads, task } = input;
  const evaluator = await openEvaluator({ architecture, weights, sequenceLength: task.data.sequenceLength, batchSequences: 4, threads });
  try {
    const mean = async () => {
      const losses = await evaluator.losses(input.sample, undefined, input.signal);
      return losses.reduce((sum, value) => sum + value, 0) / losses.length;
    };
    const lossBefore = await mean();
    evaluator.replace(trained);
    const loss = await mean();
    // Also where it is NaN.
    if (!(loss < lossBefore)) {
      throw new ConnitoError(
        `The trainer's result has a loss of ${loss.toFixed(4)} on its own data, and the base ${lossBefore.toFixed(4)}.`,
        {
          code: "trainer-result-worse",
          exit: "verification",
          hint: "Nothing was submitted. Check the trainer: its learning rate, and that it starts from the job's weights.",
        },
      );
    }
    return { lossBefore, loss };
  } finally {
    evaluator.dispose();
  }
}

function invalid(detail: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`The trainer's result cannot be taken: ${detail}.`, {
    code: "trainer-result-invalid",
    exit: "verification",
    hint: "docs/external-trainers.md says what the result is to hold. Nothing was submitted.",
    ...(cause === undefined ? {} : { cause }),
  });
}

/**
 * What has worked for a step may do so again, from its checkpoint: out of memory, a device that was lost. What never did will not. Once it
 * was told to finish there is no time for another run.
 */
function failed({ command, finish }: ExternalTraining, ending: Ending, steps: number): ConnitoError {
  const description = describeEnding(command, ending);
  if (finish.aborted && steps === 0 && ending.killed === undefined)
    return new ConnitoError(`The time for training was over before a step was done. ${description}`, {
      code: "deadline-missed",
      exit: "deadlineMissed",
      hint: "Nothing is submitted in this cycle. Start before the train window opens, with --wait or `connito cycle run`: the trainer loads and compiles meanwhile.",
    });
  return new ConnitoError(description, {
    code: "trainer-failed",
    exit: "verification",
    retryable: !finish.aborted && (steps > 0 || mayWorkAgain(ending)),
    hint: finish.aborted
      ? "Nothing is submitted in this cycle. SIGTERM asks a trainer for its result, which has to be there before its grace is over: docs/external-trainers.md."
      : "Run the same command again in the same window: the job's checkpoint directory is kept, so a trainer can go on from there.",
  });
}
