/** What scoring asks for, whoever measures it: the engine, or a program of the operator's. */
import type { Tensors } from "../../model/tensors.ts";
import type { HeldOutSequence } from "./held-out.ts";

/** Mean loss of each sequence, nats per token; not finite where the weights make it so. */
export interface Losses {
  readonly base: Float64Array;
  readonly candidates: readonly Float64Array[];
}

/** Losses of the base, and of the base plus each candidate's deltas. A candidate's losses do not depend on what is measured beside it. */
export type MeasureLosses = (sequences: readonly HeldOutSequence[], candidates?: readonly Tensors[]) => Promise<Losses>;
