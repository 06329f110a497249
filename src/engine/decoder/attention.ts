/** The attention half of a layer: norm, projections, query and key norms, rotary positions, causal attention, output projection. */
import type { Computation } from "../../model/families/index.ts";
import type { Tensor } from "../graph/graph.ts";
import { causalAttention } from "../graph/operators/attention.ts";
import { linear } from "../graph/operators/matrix.ts";
import { rmsNorm } from "../graph/operators/normalization.ts";
import { reshape } from "../graph/operators/reshape.ts";
import { type Rotation, rotate } from "../graph/operators/rotary.ts";
import type { BatchShape } from "./batch.ts";
import type { Weights } from "./weights.ts";

/** x [rows, hidden] to what the layer adds to it, of the same shape. Rows are ordered as `batch.ts` says. */
export function attention(
  x: Tensor,
  layer: number,
  weights: Weights,
  computation: Computation,
  batch: BatchShape,
  rotation: Rotation,
): Tensor {
  const { normEpsilon } = computation;
  const { heads, keyValueHeads, headDimension, queryKeyNorm } = computation.attention;
  const normed = rmsNorm(x, weights.of("attention.norm", layer), normEpsilon);
  const normedHeads = (projected: Tensor, part: "attention.queryNorm" | "attention.keyNorm") => {
    if (queryKeyNorm === "none") return projected;
    const width = queryKeyNorm === "head" ? headDimension : Number(projected.shape[1]);
    const rows = (Number(projected.shape[0]) * Number(projected.shape[1])) / width;
    return reshape(rmsNorm(reshape(projected, [rows, width]), weights.of(part, layer), normEpsilon), projected.shape);
  };
  const query = normedHeads(linear(normed, weights.of("attention.query", layer)), "attention.queryNorm");
  const key = normedHeads(linear(normed, weights.of("attention.key", layer)), "attention.keyNorm");
  const value = linear(normed, weights.of("attention.value", layer));
  const attended = causalAttention(rotate(query, rotation), rotate(key, rotation), value, {
    ...batch,
    heads,
    keyValueHeads,
    headDimension,
  });
  return linear(attended, weights.of("attention.output", layer));
}
