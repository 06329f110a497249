/**
 * The contract with a program that measures losses in the engine's place (docs/external-trainers.md): the job that it is given as a file, and the
 * document that it answers with. What it answers is a claim: names, counts and a sample of the losses are checked.
 */
import * as v from "valibot";

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

export const scoringJobSchema = v.strictObject({
  format: v.literal("connito/scoring-job/1"),
  base: v.pipe(hash, v.description("Root of the version that is measured. The answer repeats it.")),
  model: v.pipe(
    v.strictObject({ config: v.string(), tokenizer: v.string(), weights: v.string() }),
    v.description("Files of a Hugging Face checkpoint, weights as fp32 safetensors: the whole model."),
  ),
  sequences: v.pipe(
    v.strictObject({ file: v.string(), dtype: v.literal("u32"), count }),
    v.description("Little-endian tokens, row after row of sequenceLength + 1."),
  ),
  sequenceLength: count,
  candidates: v.pipe(
    v.array(v.strictObject({ name: v.string(), deltas: v.string() })),
    v.description("Models that differ from the base: safetensors files of fp32 values to be added to the tensors of the same names."),
  ),
  output: v.pipe(v.string(), v.description("Where the answer is to appear, whole: a JSON document.")),
});

export type ScoringJob = v.InferOutput<typeof scoringJobSchema>;

/** The mean loss of each sequence in nats per token, in the job's order, null where it is not finite; of the base under `base`, of candidates under their names. */
export const scoringAnswerSchema = v.strictObject({
  base: hash,
  losses: v.record(v.string(), v.array(v.nullable(v.pipe(v.number(), v.finite())))),
});

export type ScoringAnswer = v.InferOutput<typeof scoringAnswerSchema>;
