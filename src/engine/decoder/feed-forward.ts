/**
 * The feed-forward half of a layer: norm, then routed experts, with a shared network beside them where the family has one, or one dense network in a layer
 * without experts.
 */
import type { Experts as ExpertRules } from "../../model/families/index.ts";
import type { Tensor } from "../graph/graph.ts";
import { splitAlternating, splitColumns } from "../graph/operators/columns.ts";
import { add, multiply, sigmoid } from "../graph/operators/elementwise.ts";
import { linear } from "../graph/operators/matrix.ts";
import { combine, dispatch, dispatchSlots, sortByExpert } from "../graph/operators/routing.ts";
import { clampedSwiglu, swiglu } from "../graph/operators/swiglu.ts";
import type { Frame } from "./frame.ts";
import { type Routed, route } from "./router.ts";
import { normed, type Weights } from "./weights.ts";

/** What a layer's experts do with a batch. */
export interface Experts {
  readonly routed: Routed;
  /** By expert, for its tokens: what its network reads [rows, hidden] and has inside [rows, inner], each times the token's gate where that comes after. */
  weighed(): readonly { readonly input: Tensor; readonly inner: Tensor }[];
}

/** x [rows, hidden] to what the layer adds to it, and its experts where it has them. */
export function feedForward(
  x: Tensor,
  layer: number,
  { weights, architecture, computation }: Frame,
): { added: Tensor; experts: Experts | undefined } {
  const input = normed(x, weights, computation.norm, "feedForward.norm", layer);
  if (!architecture.expertLayers.includes(layer)) return { added: network(input, layer, weights, "dense"), experts: undefined };
  const { router, experts } = computation;
  const weighsInput = router.kind === "top-k" && router.weighs === "input";
  const routed = route(input, layer, weights, architecture.expertsPerToken, computation);
  const routing = sortByExpert(routed.experts, architecture.experts);
  const gates = dispatchSlots(routed.gates, routing);
  // The weight of a result may as well multiply what the last matrix reads, where that is narrower and nothing is added behind it.
  const innerWidth = Number(weights.of("expert.down", layer, 0).shape[experts.inputFirst ? 0 : 1]);
  const weighsInner = !weighsInput && innerWidth < architecture.hiddenSize && weights.find("expert.downBias", layer, 0) === undefined;
  const networks = dispatch(input, routing).map((rows, expert) => {
    const gate = gates[expert] as Tensor;
    const read = weighsInput ? multiply(rows, gate) : rows;
    const inner = expertActivations(read, layer, expert, weights, experts, weighsInner ? gate : undefined);
    const bias = weights.find("expert.downBias", layer, expert);
    const result = linear(inner, weights.of("expert.down", layer, expert), bias, experts.inputFirst);
    return { gate, read, inner, result: weighsInput || weighsInner ? result : multiply(result, gate) };
  });
  const weighed = () =>
    networks.map(({ gate, read, inner }) => ({
      input: weighsInput ? read : multiply(read, gate),
      inner: weighsInput || weighsInner ? inner : multiply(inner, gate),
    }));
  const combined = combine(
    networks.map(({ result }) => result),
    routing,
  );
  const added = weights.find("shared.gate", layer) === undefined ? combined : add(combined, shared(input, layer, weights));
  return { added, experts: { routed, weighed } };
}

function network(x: Tensor, layer: number, weights: Weights, kind: "dense" | "shared"): Tensor {
  const inner = swiglu(linear(x, weights.of(`${kind}.gate`, layer)), linear(x, weights.of(`${kind}.up`, layer)));
  return linear(inner, weights.of(`${kind}.down`, layer));
}

function shared(x: Tensor, layer: number, weights: Weights): Tensor {
  const result = network(x, layer, weights, "shared");
  const weight = weights.find("shared.weight", layer);
  return weight === undefined ? result : multiply(result, sigmoid(linear(x, weight)));
}

/** One expert's rows [its tokens, hidden] to what its last matrix reads, times the weight of each row where there is one. */
function expertActivations(
  x: Tensor,
  layer: number,
  expert: number,
  weights: Weights,
  experts: ExpertRules,
  weight: Tensor | undefined,
): Tensor {
  const { activation } = experts;
  const [gate, up] = gateAndUp(x, layer, expert, weights, experts);
  if (activation === "swiglu") return swiglu(gate, up, weight);
  const result = clampedSwiglu(gate, up, activation);
  return weight === undefined ? result : multiply(result, weight);
}

function gateAndUp(x: Tensor, layer: number, expert: number, weights: Weights, experts: ExpertRules): readonly [Tensor, Tensor] {
  const { inputFirst, alternating } = experts;
  const both = weights.find("expert.gateUp", layer, expert);
  if (both === undefined) {
    return [
      linear(x, weights.of("expert.gate", layer, expert), undefined, inputFirst),
      linear(x, weights.of("expert.up", layer, expert), undefined, inputFirst),
    ];
  }
  const joined = linear(x, both, weights.find("expert.gateUpBias", layer, expert), inputFirst);
  if (alternating) return splitAlternating(joined);
  const half = Number(joined.shape[1]) / 2;
  return splitColumns(joined, [half, half]) as [Tensor, Tensor];
}
