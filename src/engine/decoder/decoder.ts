/** The whole decoder of a family, from token to loss, as a graph whose inputs are the tokens and every weight. */
import { type Architecture, requireComputable } from "../../model/families/index.ts";
import { type Graph, input, type Tensor } from "../graph/graph.ts";
import { crossEntropy } from "../graph/operators/cross-entropy.ts";
import { add } from "../graph/operators/elementwise.ts";
import { embed } from "../graph/operators/embedding.ts";
import { linear } from "../graph/operators/matrix.ts";
import { rmsNorm } from "../graph/operators/normalization.ts";
import { rotation } from "../graph/operators/rotary.ts";
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

/** Builds the decoder into an empty graph. Errors: unknown-family, config-not-computable. */
export function buildDecoder(graph: Graph, architecture: Architecture, batch: BatchShape): Decoder {
  const computation = requireComputable(architecture);
  const rows = batch.sequences * batch.positions;
  const tokens = input(graph, tokensInput, "int64", [rows]);
  const targets = input(graph, targetsInput, "int64", [rows]);
  const weights = declareWeights(graph, architecture);
  const positions = Array.from({ length: rows }, (_, row) => Math.floor(row / batch.sequences));
  const turn = rotation(graph, positions, computation.attention.headDimension, computation.ropeTheta);
  const routed: Routed[] = [];

  let x = embed(weights.of("embedding"), tokens);
  for (let layer = 0; layer < architecture.layers; layer++) {
    x = add(x, attention(x, layer, weights, computation, batch, turn));
    const half = feedForward(x, layer, weights, architecture, computation);
    if (half.routed !== undefined) routed.push(half.routed);
    x = add(x, half.added);
  }
  const final = rmsNorm(x, weights.of("finalNorm"), computation.normEpsilon);
  const logits = linear(final, weights.of(computation.tieEmbeddings ? "embedding" : "head"));
  return { weights, losses: crossEntropy(logits, targets), routed };
}
