/**
 * Training for a sparse submission. Sending the largest changes of a run that changed everything loses nearly all of what was learned:
 * Adam moves all weights by about as much. So the run has two parts. First everything is trained, to find out which weights matter. Then the largest
 * changes are kept, all other weights return to the base, and only those that were kept are trained on, faster, as there are few of them.
 * What is sent at the end is then what was trained, up to the rounding of its values.
 *
 * Error feedback: the changes that were not kept are added, faded, to those of the next cycle's first part before the largest are chosen.
 */
import type { Codec } from "../model/codecs/index.ts";
import type { Trainer } from "./trainer.ts";

export interface SparseTrainingOptions {
  readonly trainer: Pick<Trainer, "edit" | "weights">;
  readonly codec: Codec;
  /** The trained tensors as they are in the version that the run starts from. */
  readonly base: ReadonlyMap<string, Float32Array>;
  /** What earlier cycles learned and could not say. */
  readonly residual?: ReadonlyMap<string, Float32Array> | undefined;
  /** For a run that goes on after it was narrowed: the changes by which it was. */
  readonly found?: ReadonlyMap<string, Float32Array> | undefined;
  readonly exploreShare?: number;
  readonly rateFactor?: number;
}

/** Share of the run that finds out which weights matter. */
const exploreShare = 0.3;
/** By how much the learning rate is raised for the few weights that are kept. */
const rateFactor = 30;
/** How much of a residual is left after a cycle: the base has moved on, and what it is worth fades. */
const decay = 0.9;

export interface SparseTraining {
  /** What the task's learning rate is to be multiplied by now. */
  rateFactor(): number;
  /** To be called after each step with the share of the run that is over: narrows once, then holds all other weights at the base. Says whether it narrowed just now. */
  follow(done: number): Promise<boolean>;
  /** The changes that the choice was made by; undefined before it. Whoever wants to go on after a crash keeps them. */
  found(): ReadonlyMap<string, Float32Array> | undefined;
  /** What was learned and is not in what was sent, by tensor, for the next cycle's `residual`. */
  remainder(trained: ReadonlyMap<string, Float32Array>, sent: ReadonlyMap<string, Float32Array>): Map<string, Float32Array>;
}

export function createSparseTraining(options: SparseTrainingOptions): SparseTraining {
  const { trainer, codec, base, residual } = options;
  let found = options.found;
  let support = found && supportsOf(codec, found);
  const start = options.exploreShare ?? exploreShare;
  const factor = options.rateFactor ?? rateFactor;

  /** Puts everything outside the support back to the base. */
  const hold = () =>
    trainer.edit((name, weights) => {
      const indices = support?.get(name) as Uint32Array;
      const kept = Float32Array.from(indices, (index) => weights[index] as number);
      weights.set(base.get(name) as Float32Array);
      for (let i = 0; i < indices.length; i++) weights[indices[i] as number] = kept[i] as number;
    });

  return {
    rateFactor: () => (support === undefined ? 1 : factor),
    found: () => found,
    async follow(done) {
      const narrows = support === undefined && done >= start;
      if (narrows) {
        const trained = await trainer.weights();
        found = new Map([...trained].map(([name, weights]) => [name, sum(change(weights, base.get(name)), residual?.get(name))]));
        support = supportsOf(codec, found);
      }
      if (support !== undefined) await hold();
      return narrows;
    },
    remainder(trained, sent) {
      return new Map(
        [...sent].map(([name, values]) => {
          const rest = (found?.get(name) ?? change(trained.get(name) as Float32Array, base.get(name))).map((value) => decay * value);
          const learned = change(trained.get(name) as Float32Array, base.get(name));
          for (const index of support?.get(name) ?? values.keys()) rest[index] = (learned[index] as number) - (values[index] as number);
          return [name, rest];
        }),
      );
    },
  };
}

/** Where each tensor's encoding is not 0. */
function supportsOf(codec: Codec, changes: ReadonlyMap<string, Float32Array>): Map<string, Uint32Array> {
  return new Map(
    [...changes].map(([name, values]) => {
      const decoded = codec.decode(codec.encode(values), values.length);
      const indices: number[] = [];
      for (let index = 0; index < decoded.length; index++) if (decoded[index] !== 0) indices.push(index);
      return [name, Uint32Array.from(indices)];
    }),
  );
}

function change(weights: Float32Array, base: Float32Array | undefined): Float32Array {
  if (base === undefined) throw new Error("a trained tensor has no base");
  return weights.map((value, index) => value - (base[index] as number));
}

function sum(a: Float32Array, b: Float32Array | undefined): Float32Array {
  return b === undefined ? a : a.map((value, index) => value + (b[index] as number));
}
