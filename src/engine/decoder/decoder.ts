/** The whole decoder of a family, from token to loss, as a graph whose inputs are the tokens and every weight. */
import { type Architecture, type Computation, requireComputable } from "../../model/families/index.ts";
import { type Graph, input, type Tensor } from "../graph/graph.ts";
import { crossEntropy } from "../graph/operators/cross-entropy.ts";
import { add } from "../graph/operators/elementwise.ts";
import { embed } from "../graph/operators/embedding.ts";
import { linear } from "../graph/operators/matrix.ts";
import { rmsNorm } from "../graph/operators/normalization.ts";
import { type Rotation, rotation } from "../graph/operators/rotary.ts";
import { attention } from "./attention.ts";
import type { BatchShape } from "./batch.ts";
import { feedForward, type Routed } from "./feed-forward.ts";
import { declareWeights, type Weights } from "./weights.ts";

export interface Decoder {
  readonly weights: Weights;
  /** The cross-entropy of each row's next token [rows], in nats. Rows are ordered as `batch.ts` says. */
  readonly losses: Tensor;
  /** One for each layer with experts, rising. */
  readonly routed: readonly Routed[];
}

/** The names of the inputs beside the weights: int64 [rows] each. */
export const tokensInput = "tokens";
export const targetsInput = "targets";

/** What all parts of a decoder share. */
export interface Frame {
  readonly architecture: Architecture;
  readonly computation: Computation;
  readonly batch: BatchShape;
  readonly weights: Weights;
  readonly turn: Rotation;
}

/** Errors: unknown-family, config-not-computable. */
export function openFrame(graph: Graph, architecture: Architecture, batch: BatchShape, weights: Weights): Frame {
  const computation = requireComputable(architecture);
  const positions = Array.from({ length: batch.sequences * batch.positions }, (_, row) => Math.floor(row / batch.sequences));
  const turn = rotation(graph, positions, computation.attention.headDimension, computation.ropeTheta);
  return { architecture, computation, batch, weights, turn };
}

/** Builds the decoder into an empty graph. Errors: unknown-family, config-not-computable. */
export function buildDecoder(graph: Graph, architecture: Architecture, batch: BatchShape): Decoder {
  const rows = batch.sequences * batch.positions;
  const tokens = input(graph, tokensInput, "int64", [rows]);
  const targets = input(graph, targetsInput, "int64", [rows]);
  const weights = declareWeights(graph, architecture);
  const frame = openFrame(graph, architecture, batch, weights);
  const routed: Routed[] = [];

  let x = embed(weights.of("embedding"), tokens);
  for (let layer = 0; layer < architecture.layers; layer++) {
    const result = decoderLayer(x, layer, frame);
    if (result.routed !== undefined) routed.push(result.routed);
    x = result.x;
  }
  return { weights, losses: lossesOf(x, targets, frame), routed };
}

/** x [rows, hidden] to the same after one layer, and what its router decided. */
export function decoderLayer(
  x: Tensor,
  layer: number,
  { architecture, computation, batch, weights, turn }: Frame,
): { x: Tensor; routed: Routed | undefined } {
  const attended = add(x, attention(x, layer, weights, computation, batch, turn));
  const { added, routed } = feedForward(attended, layer, weights, architecture, computation);
  return { x: add(attended, added), routed };
}

/** x [rows, hidden] after the last layer to the cross-entropy of each row's target [rows], in nats. */
export function lossesOf(x: Tensor, targets: Tensor, { computation, weights }: Frame): Tensor {
  const final = rmsNorm(x, weights.of("finalNorm"), computation.normEpsilon);
  return crossEntropy(linear(final, weights.of(computation.tieEmbeddings ? "embedding" : "head")), targets);
}
