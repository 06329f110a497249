/** What all parts of a decoder share: the model's numbers and rules, its weights, and the rotation of the batch's positions. */
import { ConnitoError } from "../../errors.ts";
import { type Architecture, type Computation, requireComputable } from "../../model/families/index.ts";
import type { Graph } from "../graph/graph.ts";
import { type Rotation, rotation } from "../graph/operators/rotary.ts";
import type { BatchShape } from "./batch.ts";
import type { Weights } from "./weights.ts";

export interface Frame {
  readonly architecture: Architecture;
  readonly computation: Computation;
  readonly batch: BatchShape;
  readonly weights: Weights;
  readonly turn: Rotation;
}

/** Errors: unknown-family, config-not-computable, sequence-too-long. */
export function openFrame(graph: Graph, architecture: Architecture, batch: BatchShape, weights: Weights): Frame {
  const computation = requireComputable(architecture);
  const { mostPositions = batch.positions } = computation.rope;
  if (batch.positions > mostPositions) throw tooLong(batch.positions, mostPositions);
  const positions = Array.from({ length: batch.sequences * batch.positions }, (_, row) => Math.floor(row / batch.sequences));
  return { architecture, computation, batch, weights, turn: rotation(graph, positions, computation.rope) };
}

function tooLong(positions: number, most: number): ConnitoError {
  return new ConnitoError(`the model's rotary positions hold for sequences of ${most} tokens, not of ${positions}`, {
    code: "sequence-too-long",
    exit: "invalidInput",
    hint: "Use shorter sequences, or a checkpoint whose configuration scales positions in a way that the engine computes.",
  });
}
