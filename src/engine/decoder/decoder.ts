/** The whole decoder of a family, from token to loss, as a graph whose inputs are the tokens and every weight. */
import type { Architecture } from "../../model/families/index.ts";
import { type Graph, input, type Tensor } from "../graph/graph.ts";
import { crossEntropy } from "../graph/operators/cross-entropy.ts";
import { add } from "../graph/operators/elementwise.ts";
import { embed } from "../graph/operators/embedding.ts";
import { linear } from "../graph/operators/matrix.ts";
import { attention } from "./attention.ts";
import type { BatchShape } from "./batch.ts";
import { type Experts, feedForward } from "./feed-forward.ts";
import { type Frame, openFrame } from "./frame.ts";
import type { Routed } from "./router.ts";
import { declareWeights, normed, type Weights } from "./weights.ts";

export interface Decoder {
  readonly weights: Weights;
  /** What each row says of its next token [rows, vocabulary]. Rows are ordered as `batch.ts` says. */
  readonly logits: Tensor;
  /** The cross-entropy of each row's next token [rows], in nats. */
  readonly losses: Tensor;
  /** One for each layer with experts, rising. */
  readonly routed: readonly Routed[];
}

/** The names of the inputs beside the weights: int64 [rows] each. */
export const tokensInput = "tokens";
export const targetsInput = "targets";

/** Builds the decoder into an empty graph. Errors: unknown-family, config-not-computable, sequence-too-long. */
export function buildDecoder(graph: Graph, architecture: Architecture, batch: BatchShape): Decoder {
  const rows = batch.sequences * batch.positions;
  const tokens = input(graph, tokensInput, "int64", [rows]);
  const targets = input(graph, targetsInput, "int64", [rows]);
  const weights = declareWeights(graph, architecture);
  const frame = openFrame(graph, architecture, batch, weights);

  let x = embed(weights.of("embedding"), tokens);
  const routed: Routed[] = [];
  for (let layer = 0; layer < architecture.layers; layer++) {
    const result = decoderLayer(x, layer, frame);
    if (result.experts !== undefined) routed.push(result.experts.routed);
    x = result.x;
  }
  const logits = logitsOf(x, frame);
  return { weights, logits, losses: crossEntropy(logits, targets), routed };
}

/** x [rows, hidden] to the same after one layer, and the layer's experts. */
export function decoderLayer(x: Tensor, layer: number, frame: Frame): { x: Tensor; experts: Experts | undefined } {
  const attended = add(x, attention(x, layer, frame));
  const { added, experts } = feedForward(attended, layer, frame);
  return { x: add(attended, added), experts };
}

/** x [rows, hidden] after the last layer to the cross-entropy of each row's target [rows], in nats. */
export function lossesOf(x: Tensor, targets: Tensor, frame: Frame): Tensor {
  return crossEntropy(logitsOf(x, frame), targets);
}

function logitsOf(x: Tensor, { computation, weights }: Frame): Tensor {
  const final = normed(x, weights, computation.norm, "finalNorm");
  return linear(final, weights.of(computation.tieEmbeddings ? "embedding" : "head"), weights.find("headBias"));
}
