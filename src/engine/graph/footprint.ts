/**
 * How much memory a graph takes while it runs, known before it does: what is alive at the worst moment, when nodes run in their order and a value is given
 * back after its last reader, as ONNX Runtime does.
 */
import type { GraphNode, Shape, Tensor } from "./graph.ts";

const elementBytes = { float32: 4, int64: 8 } as const;

/**
 * The most bytes of values that are alive at once. `outputs` end in memory of the caller's, like the inputs, and do not count. `lengthOf` gives
 * lengths that are known only when the graph runs.
 */
export function peakBytes(nodes: readonly GraphNode[], outputs: readonly Tensor[], lengthOf: (name: string) => number): number {
  const needed = neededBy(nodes, outputs);
  const own = new Set(outputs.map(({ name }) => name));
  /** A reshaped value lies where the value that it was made of does. */
  const home = new Map<string, string>();
  const homeOf = (name: string): string => home.get(name) ?? name;
  const lastRead = new Map<string, number>();
  for (const [index, node] of needed.entries()) {
    if (node.operator.name === "reshape") home.set((node.outputs[0] as Tensor).name, homeOf((node.inputs[0] as Tensor).name));
    for (const { name } of node.inputs) lastRead.set(homeOf(name), index);
  }
  const bytesOf = ({ type, shape }: Tensor) => elementBytes[type] * sizeOf(shape, lengthOf);
  let [alive, peak] = [0, 0];
  const ending = new Map<number, number>();
  for (const [index, node] of needed.entries()) {
    for (const output of node.outputs) {
      if (own.has(output.name) || home.has(output.name)) continue;
      const last = lastRead.get(output.name);
      if (last === undefined) continue;
      const bytes = bytesOf(output);
      alive += bytes;
      ending.set(last, (ending.get(last) ?? 0) + bytes);
    }
    peak = Math.max(peak, alive);
    alive -= ending.get(index) ?? 0;
  }
  return peak;
}

/**
 * Bytes of the copies that ONNX Runtime makes of constant matrices: one for each product that has one of `constants` on its right, arranged as it reads it,
 * with columns in sixteens.
 */
export function packedBytes(nodes: readonly GraphNode[], outputs: readonly Tensor[], constants: ReadonlySet<string>): number {
  return neededBy(nodes, outputs)
    .filter(({ operator, inputs }) => operator.name === "matrixProduct" && constants.has((inputs[1] as Tensor).name))
    .reduce((sum, { inputs, outputs }) => {
      const [right, result] = [(inputs[1] as Tensor).shape, (outputs[0] as Tensor).shape];
      const columns = Number(result[1]);
      const rows = sizeOf(right, () => 0) / columns;
      return sum + elementBytes.float32 * rows * 16 * Math.ceil(columns / 16);
    }, 0);
}

function neededBy(nodes: readonly GraphNode[], outputs: readonly Tensor[]): GraphNode[] {
  const used = new Set(outputs.map(({ name }) => name));
  const needed = nodes.toReversed().filter((node) => {
    const wanted = node.outputs.some(({ name }) => used.has(name));
    if (wanted) for (const { name } of node.inputs) used.add(name);
    return wanted;
  });
  return needed.reverse();
}

function sizeOf(shape: Shape, lengthOf: (name: string) => number): number {
  return shape.reduce<number>((product, length) => product * (typeof length === "number" ? length : lengthOf(length)), 1);
}
