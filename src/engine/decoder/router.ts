/**
 * Which experts a token goes to, and with what weights. The choice has no gradient; gradients reach the router, and the tokens, through the weights of the
 * chosen experts. Among equal scores the expert with the lower index is chosen, and among equal groups the lower group.
 */
import type { Computation, SparseMixerRouter, TopKRouter } from "../../model/families/index.ts";
import { scalar, type Tensor } from "../graph/graph.ts";
import { limitToGroups, sparseMixerPick } from "../graph/operators/choice.ts";
import { joinColumns } from "../graph/operators/columns.ts";
import { add, divide, multiply, sigmoid } from "../graph/operators/elementwise.ts";
import { linear } from "../graph/operators/matrix.ts";
import { reduceSum } from "../graph/operators/reduce.ts";
import { largest, softmax, take } from "../graph/operators/softmax.ts";
import type { Weights } from "./weights.ts";

/** What the router of one layer decided, [rows, experts per token] each. */
export interface Routed {
  readonly layer: number;
  /** int64: the chosen experts. */
  readonly experts: Tensor;
  /** The weight of each of them. */
  readonly gates: Tensor;
}

/** x [rows, hidden] to the router's decision. */
export function route(x: Tensor, layer: number, weights: Weights, expertsPerToken: number, { router }: Computation): Routed {
  const logits = linear(x, weights.of("router", layer), weights.find("routerBias", layer));
  const { indices, gates } =
    router.kind === "sparse-mixer"
      ? sparseMixer(logits, router)
      : topK(logits, expertsPerToken, router, weights.find("router.correction", layer));
  return { layer, experts: indices, gates };
}

interface Decision {
  readonly indices: Tensor;
  readonly gates: Tensor;
}

function topK(logits: Tensor, count: number, router: TopKRouter, correction: Tensor | undefined): Decision {
  const { indices, gates } = chosen(logits, count, router, correction);
  return { indices, gates: router.scale === 1 ? gates : multiply(gates, scalar(gates.graph, router.scale)) };
}

function chosen(
  logits: Tensor,
  count: number,
  { scores: kind, groups, normalizeTopK }: TopKRouter,
  correction: Tensor | undefined,
): Decision {
  // Scaling the chosen softmax weights to sum to one is the same as a softmax over the chosen logits alone.
  const ofChosen = kind === "softmax" ? softmax : sigmoid;
  const free = groups === undefined && correction === undefined;
  if (free && (kind === "sigmoid" || normalizeTopK)) {
    const { values, indices } = largest(logits, count);
    return { indices, gates: kind === "sigmoid" && normalizeTopK ? shares(sigmoid(values)) : ofChosen(values) };
  }
  const scores = ofChosen(logits);
  if (free) {
    const { values, indices } = largest(scores, count);
    return { indices, gates: values };
  }
  const corrected = correction === undefined ? scores : add(scores, correction);
  const { indices } = largest(groups === undefined ? corrected : limitToGroups(corrected, groups), count);
  const gates = take(scores, indices);
  return { indices, gates: normalizeTopK ? shares(gates) : gates };
}

/** Rows scaled to sum to one; a row of zeros stays one. */
function shares(values: Tensor): Tensor {
  return divide(values, add(reduceSum(values, [1]), scalar(values.graph, 1e-20)));
}

function sparseMixer(scores: Tensor, { tolerance }: SparseMixerRouter): Decision {
  const first = sparseMixerPick(scores, tolerance);
  const second = sparseMixerPick(scores, tolerance, first.index);
  const gates = [first, second].map(({ index, mask }) => take(softmax(add(scores, mask)), index));
  return { indices: joinColumns([first.index, second.index]), gates: joinColumns(gates) };
}
