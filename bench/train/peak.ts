/** What the machine multiplies at best: the limit beside which the engine's work is measured. */
import { createGraph, input } from "../../src/engine/graph/graph.ts";
import { lowerGraph } from "../../src/engine/graph/lower.ts";
import { linear } from "../../src/engine/graph/operators/matrix.ts";
import { encodeModel } from "../../src/engine/onnx/writer.ts";
import { openSession } from "../../src/engine/runtime/session.ts";
import { float32Value } from "../../src/engine/runtime/value.ts";

/** Floating-point operations a second of a large product, the best of several, by a clock of milliseconds. */
export async function measurePeak(threads: number, milliseconds: () => number = () => performance.now()): Promise<number> {
  const side = 1024;
  const graph = createGraph();
  const y = linear(input(graph, "x", "float32", [side, side]), input(graph, "w", "float32", [side, side]));
  const session = await openSession(encodeModel(lowerGraph(graph, { y })), { threads });
  const value = () => float32Value([side, side], new Float32Array(side * side).fill(0.5));
  const feeds = { x: value(), w: value() };
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 10; run++) {
    const started = milliseconds();
    const results = await session.run(feeds);
    best = Math.min(best, milliseconds() - started);
    results["y"]?.dispose();
  }
  session.dispose();
  return (2 * side ** 3) / (best / 1000);
}
