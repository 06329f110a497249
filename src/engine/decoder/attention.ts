/** The attention half of a layer: norm, projections, rotary positions, causal attention, output projection. */
import type { GroupedQueryAttention, LatentAttention, LayerRules } from "../../model/families/index.ts";
import { constant, type Tensor } from "../graph/graph.ts";
import { causalAttention } from "../graph/operators/attention.ts";
import { joinColumns, splitColumns } from "../graph/operators/columns.ts";
import { clamp, multiply } from "../graph/operators/elementwise.ts";
import { linear } from "../graph/operators/matrix.ts";
import { rmsNorm } from "../graph/operators/normalization.ts";
import { expandLike } from "../graph/operators/reduce.ts";
import { reshape } from "../graph/operators/reshape.ts";
import { rotate } from "../graph/operators/rotary.ts";
import type { BatchShape } from "./batch.ts";
import type { Frame } from "./frame.ts";
import { normed } from "./weights.ts";

/** x [rows, hidden] to what the layer adds to it, of the same shape. Rows are ordered as `batch.ts` says. */
export function attention(x: Tensor, layer: number, frame: Frame): Tensor {
  const { weights, computation } = frame;
  const rules = computation.layers?.[layer] ?? {};
  const input = normed(x, weights, computation.norm, "attention.norm", layer);
  const attended =
    computation.attention.kind === "latent"
      ? latentAttention(input, layer, computation.attention, rules, frame)
      : groupedQueryAttention(input, layer, computation.attention, rules, frame);
  return linear(attended, weights.of("attention.output", layer), weights.find("attention.outputBias", layer));
}

function groupedQueryAttention(
  x: Tensor,
  layer: number,
  attention: GroupedQueryAttention,
  rules: LayerRules,
  { weights, computation, batch, turn }: Frame,
): Tensor {
  const { heads, keyValueHeads, headDimension, queryKeyNorm, clip } = attention;
  const { epsilon } = computation.norm;
  /** RMSNorm of runs of `width` columns. */
  const inRuns = (projected: Tensor, width: number, weight: Tensor) => {
    const runs = (Number(projected.shape[0]) * Number(projected.shape[1])) / width;
    return reshape(rmsNorm(reshape(projected, [runs, width]), weight, epsilon), projected.shape);
  };
  const projection = (part: "attention.query" | "attention.key" | "attention.value") =>
    linear(x, weights.of(part, layer), weights.find(`${part}Bias`, layer));
  const clipped = (projected: Tensor) => (clip === undefined ? projected : clamp(projected, -clip, clip));
  const placed = (part: "attention.query" | "attention.key", count: number) => {
    let result = projection(part);
    if (queryKeyNorm === "head" || queryKeyNorm === "full") {
      result = inRuns(result, queryKeyNorm === "head" ? headDimension : count * headDimension, weights.of(`${part}Norm`, layer));
    }
    result = clipped(result);
    if (rules.unturned) return result;
    result = rotate(result, count, turn);
    if (queryKeyNorm !== "after-rotation") return result;
    return inRuns(result, headDimension, constant(x.graph, [headDimension], new Float32Array(headDimension).fill(1)));
  };
  const query = tempered(placed("attention.query", heads), rules, batch);
  const key = placed("attention.key", keyValueHeads);
  const value = clipped(projection("attention.value"));
  const { window, chunk } = rules;
  const shape = { ...batch, heads, keyValueHeads, headDimension, window, chunk };
  return causalAttention(query, key, value, shape, weights.find("attention.sinks", layer));
}

/** Queries [rows, width], later positions multiplied by more where the layer says so. */
function tempered(query: Tensor, { temperature }: LayerRules, { sequences }: BatchShape): Tensor {
  if (temperature === undefined) return query;
  const rows = Number(query.shape[0]);
  const factors = Float32Array.from({ length: rows }, (_, row) => {
    const position = Math.floor(row / sequences);
    return 1 + temperature.scale * Math.log1p(Math.floor((position + 1) / temperature.length));
  });
  return multiply(query, constant(query.graph, [rows, 1], factors));
}

function latentAttention(
  x: Tensor,
  layer: number,
  attention: LatentAttention,
  { window, chunk }: LayerRules,
  { weights, batch, turn }: Frame,
): Tensor {
  const { heads, plainDimension, turnedDimension, valueDimension, latentEpsilon, scale } = attention;
  const rows = Number(x.shape[0]);
  const headDimension = plainDimension + turnedDimension;
  const byHead = (columns: Tensor, width: number) => reshape(columns, [rows, heads, width]);
  const inRows = (columns: Tensor) => reshape(columns, [rows, heads * Number(columns.shape[2])]);

  const down = weights.find("attention.queryDown", layer);
  const source =
    down === undefined
      ? x
      : rmsNorm(
          linear(x, down, weights.find("attention.queryDownBias", layer)),
          weights.of("attention.queryDownNorm", layer),
          latentEpsilon,
        );
  const queries = byHead(linear(source, weights.of("attention.query", layer)), headDimension);
  const [plainQuery, freeQuery] = splitColumns(queries, [plainDimension, turnedDimension]) as [Tensor, Tensor];
  const turnedQuery = byHead(rotate(inRows(freeQuery), heads, turn), turnedDimension);

  const folded = linear(x, weights.of("attention.latent", layer), weights.find("attention.latentBias", layer));
  const [latent, freeKey] = splitColumns(folded, [Number(folded.shape[1]) - turnedDimension, turnedDimension]) as [Tensor, Tensor];
  const unfolded = linear(
    rmsNorm(latent, weights.of("attention.latentNorm", layer), latentEpsilon),
    weights.of("attention.keyValue", layer),
  );
  const [plainKey, value] = splitColumns(byHead(unfolded, plainDimension + valueDimension), [plainDimension, valueDimension]) as [
    Tensor,
    Tensor,
  ];
  const turnedKey = expandLike(reshape(rotate(freeKey, 1, turn), [rows, 1, turnedDimension]), turnedQuery);

  const query = inRows(joinColumns([plainQuery, turnedQuery]));
  const key = inRows(joinColumns([plainKey, turnedKey]));
  const shape = { ...batch, heads, keyValueHeads: heads, headDimension, valueDimension, scale, window, chunk };
  return causalAttention(query, key, inRows(value), shape);
}
