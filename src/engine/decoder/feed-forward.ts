/**
 * The feed-forward half of a layer: norm, then routed experts, or one dense network in a layer without experts. The router
 * is a softmax over all experts of which each token takes the largest few; gradients reach the tokens through the weights of the chosen experts too.
 */
import type { Architecture, Computation } from "../../model/families/index.ts";
import type { Tensor } from "../graph/graph.ts";
import { multiply } from "../graph/operators/elementwise.ts";
import { linear } from "../graph/operators/matrix.ts";
import { rmsNorm } from "../graph/operators/normalization.ts";
import { combine, dispatch, dispatchSlots, sortByExpert } from "../graph/operators/routing.ts";
import { largest, softmax } from "../graph/operators/softmax.ts";
import { swiglu } from "../graph/operators/swiglu.ts";
import type { Weights } from "./weights.ts";

/** What the router of one layer decided, [rows, experts per token] each. */
export interface Routed {
  readonly layer: number;
  /** int64: the chosen experts, by falling gate. */
  readonly experts: Tensor;
  /** The weight that each chosen expert's output is given. */
  readonly gates: Tensor;
}

/** x [rows, hidden] to what the layer adds to it, and the router's decision where it has one. */
export function feedForward(
  x: Tensor,
  layer: number,
  weights: Weights,
  architecture: Architecture,
  computation: Computation,
): { added: Tensor; routed: Routed | undefined } {
  const normed = rmsNorm(x, weights.of("feedForward.norm", layer), computation.normEpsilon);
  if (!architecture.expertLayers.includes(layer)) {
    const inner = swiglu(linear(normed, weights.of("dense.gate", layer)), linear(normed, weights.of("dense.up", layer)));
    return { added: linear(inner, weights.of("dense.down", layer)), routed: undefined };
  }
  const routed = route(normed, layer, weights, architecture.expertsPerToken, computation);
  const routing = sortByExpert(routed.experts, architecture.experts);
  const gates = dispatchSlots(routed.gates, routing);
  const results = dispatch(normed, routing).map((rows, expert) => {
    const inner = swiglu(linear(rows, weights.of("expert.gate", layer, expert)), linear(rows, weights.of("expert.up", layer, expert)));
    return multiply(linear(inner, weights.of("expert.down", layer, expert)), gates[expert] as Tensor);
  });
  return { added: combine(results, routing), routed };
}

/** Scaling the chosen softmax weights to sum to one is the same as a softmax over the chosen logits alone. */
function route(x: Tensor, layer: number, weights: Weights, expertsPerToken: number, { router }: Computation): Routed {
  const logits = linear(x, weights.of("router", layer));
  const { values, indices } = largest(router.normalizeTopK ? logits : softmax(logits), expertsPerToken);
  return { layer, experts: indices, gates: router.normalizeTopK ? softmax(values) : values };
}
