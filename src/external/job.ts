/**
 * The contract with a program that trains in the engine's place (docs/external-trainers.md): the job that it is given as a file, and
 * the lines that it may say. Everything it says is a claim of a stranger; nothing but its result file counts, and that is checked.
 */
import * as v from "valibot";

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

export const trainingJobSchema = v.strictObject({
  format: v.literal("connito/training-job/1"),
  task: v.pipe(hash, v.description("Hash of the task.")),
  cycle: count,
  group: count,
  base: v.pipe(hash, v.description("Root of the version that is trained. The result's metadata repeats it.")),
  model: v.pipe(
    v.strictObject({ config: v.string(), tokenizer: v.string(), weights: v.string() }),
    v.description(
      "Files of a Hugging Face checkpoint, weights as fp32 safetensors: the slice, with stand-ins in the place of other groups' experts.",
    ),
  ),
  trainable: v.pipe(
    v.array(v.strictObject({ name: v.string(), shape: v.array(count) })),
    v.description("The tensors to train; all others are frozen."),
  ),
  places: v.optional(
    v.pipe(
      v.string(),
      v.description(
        "A safetensors file with a U8 tensor for each trainable one, 1 where the submission can say a change: hold all other values at the base. Absent where it can say all.",
      ),
    ),
  ),
  data: v.pipe(
    v.array(
      v.strictObject({
        domain: v.string(),
        file: v.string(),
        offset: count,
        dtype: v.picklist(["u16", "u32"]),
        sequences: count,
        sha256: hash,
      }),
    ),
    v.description(
      "The miner's share: from the offset on, little-endian tokens, row after row of sequenceLength + 1, each part of the shard with that hash. Domains weigh the same, whatever their sizes.",
    ),
  ),
  walk: v.optional(
    v.pipe(
      v.string(),
      v.description(
        "A file of pairs of little-endian u32, one for each sequence that is to be trained on first, in this order: which part of `data`, from 0, and which of its rows, from 0. The submission has to show that it learned from them. Absent where the task does not ask for it.",
      ),
    ),
  ),
  sequenceLength: count,
  seed: v.pipe(count, v.description("For the order of the data, after `walk` where there is one; from 0 to 2^32 - 1.")),
  hyperparameters: v.pipe(
    v.looseObject({
      muon: v.optional(
        v.strictObject({
          momentum: v.number(),
          nesterov: v.boolean(),
          iterations: count,
          coefficients: v.strictTuple([v.number(), v.number(), v.number()]),
          updateSize: v.number(),
        }),
      ),
    }),
    v.description(
      "The task's `inner` section, its learning rate raised where `places` are few. With `muon`, matrices are updated by Muon.",
    ),
  ),
  maximumSteps: v.optional(count),
  opens: v.pipe(
    v.string(),
    v.description("When the train window opens, RFC 3339; an estimate. The program may be started before: time to load and to compile."),
  ),
  deadline: v.pipe(v.string(), v.description("When SIGTERM is to be expected, RFC 3339; an estimate.")),
  graceSeconds: v.pipe(v.number(), v.description("How long after SIGTERM the result may still be written.")),
  checkpoint: v.pipe(v.string(), v.description("A directory that outlives the program, for its own checkpoints.")),
  output: v.pipe(v.string(), v.description("Where the result is to appear, whole: a safetensors file of changed tensors.")),
});

export type TrainingJob = v.InferOutput<typeof trainingJobSchema>;

const lineSchema = v.union([
  v.object({ event: v.literal("step"), step: count, loss: v.nullable(v.number()), tokens: count }),
  v.object({ event: v.literal("heartbeat") }),
  v.object({ event: v.literal("note"), text: v.pipe(v.string(), v.maxLength(500)) }),
]);

export type TrainerLine = v.InferOutput<typeof lineSchema>;

/** What a line says; undefined where it is none of the contract's, which is no fault: programs print all kinds of things. */
export function parseLine(text: string): TrainerLine | undefined {
  try {
    const parsed = v.safeParse(lineSchema, JSON.parse(text));
    return parsed.success ? parsed.output : undefined;
  } catch {
    return undefined;
  }
}
