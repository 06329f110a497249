/** A graph as an ONNX model: only the nodes that the outputs need, each operator in its ONNX form. */
import type { OnnxModel, OnnxNode, OnnxTensor } from "../onnx/model.ts";
import type { EmitOptions, Emitter, Graph, GraphNode, Tensor } from "./graph.ts";
import { staticShape } from "./shape.ts";

/**
 * The model that computes `outputs`, by the names they are to have. Inputs that no output depends on are left out.
 * An output may be an input of the graph or stand under several names. Inputs named in `constants` are not fed at every run, but once, at load.
 */
export function lowerGraph(
  graph: Graph,
  outputs: Readonly<Record<string, Tensor>>,
  constants: ReadonlySet<string> = new Set(),
): OnnxModel & Required<Pick<OnnxModel, "externals">> {
  const { nodes, used } = neededNodes(graph, Object.values(outputs));
  const lowered: OnnxNode[] = [];
  const initializers: Record<string, OnnxTensor> = {};
  const tables = new Map<string, string>();
  let fresh = 0;

  const table: Emitter["table"] = (key, make) => {
    const known = tables.get(key);
    if (known !== undefined) return known;
    const name = `c${tables.size}`;
    tables.set(key, name);
    initializers[name] = make();
    return name;
  };
  const emitterOf = (label: string): Emitter => {
    const push = (operator: string, inputs: readonly string[], results: readonly string[], options: EmitOptions) => {
      lowered.push({ operator, inputs, outputs: results, name: `${label}/${lowered.length}`, ...options });
    };
    return {
      node: (operator, inputs, { output = `u${fresh++}`, ...options } = {}) => {
        push(operator, inputs, [output], options);
        return output;
      },
      nodes: (operator, inputs, results, options = {}) => {
        const names = results.map((name) => name ?? `u${fresh++}`);
        push(operator, inputs, names, options);
        return names;
      },
      table,
      float: (value) => table(`float ${value}`, () => ({ type: "float32", shape: [], data: Float32Array.of(value) })),
      integers: (values) =>
        table(`integers ${values}`, () => ({ type: "int64", shape: [values.length], data: BigInt64Array.from(values, BigInt) })),
    };
  };

  // A value that is an output is made under the output's name; only what is not made by a node, or is wanted twice, takes a copy.
  const made = new Set(nodes.flatMap((node) => node.outputs.map(({ name }) => name)));
  const renamed = new Map<string, string>();
  const nameOf = ({ name }: Tensor) => renamed.get(name) ?? name;
  const copies = Object.entries(outputs).filter(([name, tensor]) => {
    if (!made.has(tensor.name) || renamed.has(tensor.name)) return true;
    renamed.set(tensor.name, name);
    return false;
  });

  for (const node of nodes) {
    const results = node.outputs.map((one) => (used.has(one.name) ? nameOf(one) : undefined));
    node.operator.lower(emitterOf(node.operator.name), node.inputs.map(nameOf), results, node);
  }
  for (const [name, tensor] of copies) emitterOf("output").node("Identity", [nameOf(tensor)], { output: name });
  for (const [name, { type, shape, data }] of graph.constants) if (used.has(name)) initializers[name] = { type, shape, data };
  const read = graph.inputs.filter(({ name }) => used.has(name)).map(described);
  return {
    inputs: read.filter(({ name }) => !constants.has(name)),
    externals: read.filter(({ name }) => constants.has(name)),
    outputs: Object.entries(outputs).map(([name, tensor]) => ({ ...described(tensor), name })),
    initializers,
    nodes: lowered,
  };
}

/** The nodes that `outputs` depend on, in order, and the names of all values that are read. */
function neededNodes(graph: Graph, outputs: readonly Tensor[]): { nodes: GraphNode[]; used: Set<string> } {
  const used = new Set(outputs.map(({ name }) => name));
  const nodes = graph.nodes.toReversed().filter((node) => {
    const needed = node.outputs.some(({ name }) => used.has(name));
    if (needed) for (const { name } of node.inputs) used.add(name);
    return needed;
  });
  return { nodes: nodes.reverse(), used };
}

function described({ name, type, shape }: Tensor): { name: string; type: "float32" | "int64"; shape: readonly number[] } {
  return { name, type, shape: staticShape("a model's input or output", shape) };
}
