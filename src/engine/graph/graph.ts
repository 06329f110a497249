/**
 * A computation as data: tensors with known types and shapes, and the nodes that make them. Nothing is computed here; a
 * graph is lowered to an ONNX model (lower.ts), and gradient.ts extends it by its own backward pass.
 *
 * Shapes are static, with one exception: how many tokens an expert gets is known only when the graph runs. Such a length is
 * a name instead of a number, and two lengths of one name are equal.
 */
import type { OnnxAttribute, OnnxTensor } from "../onnx/model.ts";

export type ElementType = "float32" | "int64";
/** A number, or the name of a length that is known only when the graph runs. */
export type Dimension = number | string;
export type Shape = readonly Dimension[];

export interface TensorType {
  readonly type: ElementType;
  readonly shape: Shape;
}

/** One value of a graph. `name` is unique in its graph. */
export interface Tensor extends TensorType {
  readonly graph: Graph;
  readonly name: string;
}

export interface GraphNode<Attributes = unknown> {
  readonly operator: Operator<Attributes>;
  readonly attributes: Attributes;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

export interface Constant extends TensorType {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

export interface Graph {
  readonly inputs: Tensor[];
  /** In the order of creation, which is an order in which they can run. */
  readonly nodes: GraphNode[];
  readonly constants: Map<string, Constant>;
  /** The constants made by `constant`, by content, so that equal small ones are stored once. */
  readonly constantsByContent: Map<string, Tensor>;
  nextName: number;
}

/**
 * What an operation is: its shape rule, its ONNX form and its gradient, side by side. An operator may have more outputs than a
 * caller sees: what its gradient can use again.
 */
export interface Operator<Attributes> {
  readonly name: string;
  /** The outputs' types. Throws an Error that says which shapes do not fit: a fault of the caller, not of data. */
  outputs(inputs: readonly TensorType[], attributes: Attributes): TensorType[];
  /** Emits ONNX nodes that make `outputs` from `inputs`. An output that nobody reads is undefined and need not be made. */
  lower(emit: Emitter, inputs: readonly string[], outputs: readonly (string | undefined)[], node: GraphNode<Attributes>): void;
  /**
   * Gradients of the inputs for which `wanted` is true, given those of the outputs (undefined where the loss does not depend on
   * one). Left out where an operator is used in backward passes and optimizers only.
   */
  gradient?(
    node: GraphNode<Attributes>,
    outputGradients: readonly (Tensor | undefined)[],
    wanted: readonly boolean[],
  ): (Tensor | undefined)[];
}

/** Where an operator writes its ONNX nodes. Names are those of ONNX values. */
export interface Emitter {
  /** One node with one output, which gets a fresh name unless it is given. */
  node(operator: string, inputs: readonly string[], options?: EmitOptions & { readonly output?: string | undefined }): string;
  /** One node with several outputs, each of which gets a fresh name unless it is given. */
  nodes(operator: string, inputs: readonly string[], outputs: readonly (string | undefined)[], options?: EmitOptions): string[];
  /** Names of constants, stored once for equal contents. */
  float(value: number): string;
  integers(values: readonly number[]): string;
  /** A constant made once for each key. */
  table(key: string, make: () => OnnxTensor): string;
}

export interface EmitOptions {
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  readonly domain?: "com.microsoft";
}

export function createGraph(): Graph {
  return { inputs: [], nodes: [], constants: new Map(), constantsByContent: new Map(), nextName: 0 };
}

/** A value that is fed at every run. */
export function input(graph: Graph, name: string, type: ElementType, shape: readonly number[]): Tensor {
  if (graph.inputs.some((one) => one.name === name)) throw new Error(`the graph has two inputs named ${name}`);
  const tensor = { graph, name, type, shape };
  graph.inputs.push(tensor);
  return tensor;
}

/** A value that never changes. */
export function constant(graph: Graph, shape: readonly number[], data: Float32Array | BigInt64Array): Tensor {
  const type = data instanceof Float32Array ? "float32" : "int64";
  const key = data.length > 16 ? undefined : `${type}[${shape}]${data}`;
  const known = key === undefined ? undefined : graph.constantsByContent.get(key);
  if (known !== undefined) return known;
  const tensor: Tensor = { graph, name: freshName(graph), type, shape };
  graph.constants.set(tensor.name, { type, shape, data });
  if (key !== undefined) graph.constantsByContent.set(key, tensor);
  return tensor;
}

/** A constant of shape []. */
export function scalar(graph: Graph, value: number): Tensor {
  return constant(graph, [], Float32Array.of(value));
}

/** Adds a node and gives its outputs. */
export function apply<Attributes>(operator: Operator<Attributes>, inputs: readonly Tensor[], attributes: Attributes): readonly Tensor[] {
  const graph = inputs[0]?.graph;
  if (graph === undefined) throw new Error(`${operator.name} has no inputs`);
  if (inputs.some((one) => one.graph !== graph)) throw new Error(`${operator.name}: the inputs belong to different graphs`);
  const outputs = operator.outputs(inputs, attributes).map(({ type, shape }) => ({ graph, name: freshName(graph), type, shape }));
  const node: GraphNode<Attributes> = { operator, attributes, inputs: [...inputs], outputs };
  graph.nodes.push(node as GraphNode);
  return outputs;
}

/** As `apply`, for the first output. */
export function applyOne<Attributes>(operator: Operator<Attributes>, inputs: readonly Tensor[], attributes: Attributes): Tensor {
  return apply(operator, inputs, attributes)[0] as Tensor;
}

export function freshName(graph: Graph): string {
  return `t${graph.nextName++}`;
}
