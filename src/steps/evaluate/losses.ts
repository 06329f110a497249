/** Losses on held-out sequences: of the base, measured once a cycle and kept, and of models that differ from it in some tensors. */

import { readJson, writeJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import type { HeldOutSequence, OpenModel } from "./held-out.ts";

/** Tensors that take the place of the base's, by name. */
export type Tensors = ReadonlyMap<string, Float32Array>;

export interface BaseLosses {
  /** The base's losses on these sequences, nats per token; measured where they are not known yet. */
  on(sequences: readonly HeldOutSequence[]): Promise<Float64Array>;
}

interface StoredLosses {
  readonly base: string;
  /** Rows of domain, index and loss. */
  readonly losses: readonly (readonly [number, number, number])[];
}

/** What is known of the base's losses in this cycle: `score` and `merge` judge by the same numbers. */
export async function openBaseLosses(context: Context, view: CycleView, opened: OpenModel): Promise<BaseLosses> {
  const file = context.workspace.layout.cycle(view.cycle, "base-losses.json");
  const stored = await readJson<StoredLosses>(file);
  const key = (domain: number, index: number) => `${domain}/${index}`;
  const known = new Map(
    stored?.base === view.base ? stored.losses.map(([domain, index, loss]) => [key(domain, index), { domain, index, loss }]) : [],
  );
  return {
    async on(sequences) {
      const missing = sequences.filter(({ domain, index }) => !known.has(key(domain, index)));
      if (missing.length > 0) {
        const losses = await opened.evaluator.losses(
          missing.map(({ tokens }) => tokens),
          undefined,
          context.signal,
        );
        for (const [place, { domain, index }] of missing.entries())
          known.set(key(domain, index), { domain, index, loss: losses[place] as number });
        const rows = [...known.values()].map(({ domain, index, loss }) => [domain, index, loss] as const);
        await writeJson(file, { base: view.base, losses: rows } satisfies StoredLosses);
      }
      return Float64Array.from(sequences, ({ domain, index }) => known.get(key(domain, index))?.loss as number);
    },
  };
}

/** Losses of the model with these tensors in place of the base's; the evaluator holds the base again when this returns. */
export async function lossesWith(
  { evaluator, weights: base }: OpenModel,
  weights: Tensors,
  sequences: readonly HeldOutSequence[],
  signal: AbortSignal,
): Promise<Float64Array> {
  evaluator.replace(weights);
  try {
    return await evaluator.losses(
      sequences.map((sequence) => sequence.tokens),
      undefined,
      signal,
    );
  } finally {
    evaluator.replace(new Map([...weights.keys()].map((name) => [name, base.get(name) as Float32Array])));
  }
}

/** The same for several candidates, each given by its deltas to the base. One after another; in the order given. */
export async function lossesOfDeltas(
  opened: OpenModel,
  candidates: readonly Tensors[],
  sequences: readonly HeldOutSequence[],
  signal: AbortSignal,
): Promise<Float64Array[]> {
  const results: Float64Array[] = [];
  for (const deltas of candidates) results.push(await lossesWith(opened, addDeltas(opened.weights, deltas), sequences, signal));
  return results;
}

function addDeltas(base: Tensors, deltas: Tensors): Map<string, Float32Array> {
  return new Map(
    [...deltas].map(([name, delta]) => {
      const weights = base.get(name) as Float32Array;
      return [name, delta.map((value, index) => value + (weights[index] as number))];
    }),
  );
}
