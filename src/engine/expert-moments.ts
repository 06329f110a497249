/**
 * What the matrices of each expert are multiplied by: the second moments of its tokens' inputs, and of what it has inside, each token weighed as its result
 * is. Stand-ins are rounded for them. Only blocks along the diagonal are kept, and of one layer at a time: of an expert's matrices [h, w] and [w, h] they take 256 * (h + w)
 * values, a sixth to a twentieth of its own (Qwen3-30B-A3B's and DeepSeek-V3's), which are in memory then as well.
 */
import { feedbackColumns } from "../kernels/low-bits.ts";
import type { LayerMoments } from "../model/make-stand-ins.ts";
import type { Tensor } from "./graph/graph.ts";
import { splitColumns } from "./graph/operators/columns.ts";
import { matrixProduct } from "./graph/operators/matrix.ts";
import { type ObservedSample, observeLayers } from "./layers/observe-layers.ts";
import type { Observe } from "./layers/stages.ts";

/**
 * Runs the sample through the model and gives each layer's moments, rising; they are the caller's. Columns that fill up a batch count as well: a hair, for
 * a sample of many batches. Errors: those of observeLayers.
 */
export async function* expertMoments(sample: ObservedSample): AsyncGenerator<LayerMoments> {
  for await (const { layer, batches } of observeLayers(sample, observe, { summed: true })) {
    let sums: [string, Float32Array][] = [];
    for await (const { seen } of batches) sums = Object.entries(seen).map(([name, sum]) => [name, sum.float32()]);
    const blocksOf = (expert: number, what: string) => sums.filter(([name]) => name.startsWith(`${what} ${expert} `)).map(([, sum]) => sum);
    const { experts } = sample.architecture;
    yield {
      layer,
      experts: Array.from({ length: experts }, (_, expert) => ({ input: blocksOf(expert, "input"), inner: blocksOf(expert, "inner") })),
    };
  }
}

const observe: Observe = ({ weighed }) =>
  Object.fromEntries(
    weighed().flatMap(({ input, inner }, expert) => [...moments(`input ${expert}`, input), ...moments(`inner ${expert}`, inner)]),
  );

/** Of x [rows, n], X^T X in blocks along its diagonal. */
function moments(name: string, x: Tensor): [string, Tensor][] {
  const columns = Number(x.shape[1]);
  const widths = Array.from({ length: Math.ceil(columns / feedbackColumns) }, (_, block) =>
    Math.min(feedbackColumns, columns - block * feedbackColumns),
  );
  return splitColumns(x, widths).map((part, block) => [`${name} ${block}`, matrixProduct(part, part, { transposeA: true })]);
}
