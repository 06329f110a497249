/**
 * What the matrices of each expert are multiplied by: the second moments of its tokens' inputs, and of what it has inside, each token weighed as its result
 * is. Stand-ins are rounded for them. Only blocks along the diagonal are kept: memory grows with the width, not with its square.
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
  for await (const { layer, batches } of observeLayers(sample, observe)) {
    const sums = new Map<string, Float32Array>();
    for await (const { seen } of batches) {
      for (const [name, value] of Object.entries(seen)) {
        const added = value.float32();
        const sum = sums.get(name);
        if (sum === undefined) sums.set(name, added.slice());
        else for (let at = 0; at < sum.length; at++) sum[at] = (sum[at] as number) + (added[at] as number);
      }
    }
    const blocksOf = (expert: number, what: string) =>
      [...sums].filter(([name]) => name.startsWith(`${what} ${expert} `)).map(([, sum]) => sum);
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
