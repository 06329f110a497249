/**
 * Checks gradients of a graph against central finite differences: the graph's output is weighed by fixed random numbers and summed, which
 * makes a scalar whose gradient exercises every element. The differences are taken of the sum in float64 over the graph's float32 output.
 */
import assert from "node:assert/strict";
import { gradients } from "../../../src/engine/graph/gradient.ts";
import { createGraph, type Graph, input, type Tensor } from "../../../src/engine/graph/graph.ts";
import { lowerGraph } from "../../../src/engine/graph/lower.ts";
import { multiply } from "../../../src/engine/graph/operators/elementwise.ts";
import { reduceSum } from "../../../src/engine/graph/operators/reduce.ts";
import { reshape } from "../../../src/engine/graph/operators/reshape.ts";
import { encodeModel } from "../../../src/engine/onnx/writer.ts";
import { openSession } from "../../../src/engine/runtime/session.ts";
import { float32Value, int64Value, type Value } from "../../../src/engine/runtime/value.ts";

export interface Fed {
  readonly shape: readonly number[];
  /** Random where left out. An array of bigint is an int64 tensor, which gets no gradient. */
  readonly data?: readonly number[] | readonly bigint[];
}

/** Numbers in (-1, 1) that are the same in every run: the generator known as mulberry32. */
export function random(count: number, seed = 1): Float32Array {
  let state = Math.imul(seed, 2654435761);
  return Float32Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 31 - 1;
  });
}

const count = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/** Builds a graph over the named inputs, runs it once, and gives the outputs' elements. */
export async function evaluate(
  fed: Readonly<Record<string, Fed>>,
  build: (inputs: Record<string, Tensor>, graph: Graph) => Record<string, Tensor>,
): Promise<Record<string, number[]>> {
  const graph = createGraph();
  const outputs = build(inputsOf(graph, fed), graph);
  const session = await openSession(encodeModel(lowerGraph(graph, outputs)), { threads: 1 });
  try {
    const all = valuesOf(fed);
    const feeds = Object.fromEntries(session.inputs.map((name) => [name, all[name] as Value]));
    const results = await session.run(feeds);
    return Object.fromEntries(
      Object.entries(results).map(([name, value]) => [
        name,
        value.type === "int64" ? Array.from(value.int64(), Number) : [...value.float32()],
      ]),
    );
  } finally {
    session.dispose();
  }
}

export interface CheckOptions {
  /** Half the distance of the differences. */
  readonly step?: number;
  /** Largest error, in units of the largest element of the tensor's gradient. */
  readonly tolerance?: number;
  /** The inputs that are differentiated; the others count as frozen. All float32 inputs by default. */
  readonly variables?: readonly string[];
  /** Those of them whose gradient must be zero everywhere; every other one's must not. */
  readonly unused?: readonly string[];
  /** Looks at every so many elements of each variable only. 1 by default. */
  readonly every?: number;
}

/** Asserts that gradients equal the finite differences. */
export async function checkGradients(
  fed: Readonly<Record<string, Fed>>,
  build: (inputs: Record<string, Tensor>, graph: Graph) => Tensor,
  options: CheckOptions = {},
): Promise<void> {
  const floats = Object.keys(fed).filter((name) => typeof fed[name]?.data?.[0] !== "bigint");
  const { step = 1e-2, tolerance = 2e-3, variables = floats, unused = [], every = 1 } = options;
  const graph = createGraph();
  const inputs = inputsOf(graph, fed);
  const output = build(inputs, graph);
  const shape = output.shape.map(Number);
  const weights = random(count(shape), 7);
  const weighed = multiply(output, input(graph, "weights", "float32", shape));
  const loss = reshape(reduceSum(weighed, [...shape.keys()]), []);
  const derived = gradients(
    loss,
    variables.map((name) => inputs[name] as Tensor),
  );
  const outputs = { output, ...Object.fromEntries(variables.map((name, index) => [`d_${name}`, derived[index] as Tensor])) };
  const session = await openSession(encodeModel(lowerGraph(graph, outputs)), { threads: 1 });
  try {
    const values: Record<string, Value> = { ...valuesOf(fed), weights: float32Value(shape, weights) };
    const feeds = Object.fromEntries(session.inputs.map((name) => [name, values[name] as Value]));
    const results = await session.run(feeds);
    const lossAt = async () => {
      const { output: value } = await session.run(feeds, ["output"]);
      return (value as Value).float32().reduce((sum, element, index) => sum + element * (weights[index] as number), 0);
    };
    for (const name of variables) {
      const elements = (values[name] as Value).float32();
      const gradient = (results[`d_${name}`] as Value).float32();
      assert.equal(gradient.length, elements.length);
      const zero = gradient.every((one) => one === 0);
      assert.equal(zero, unused.includes(name), `the gradient of ${name} is ${zero ? "" : "not "}zero everywhere`);
      const scale = Math.max(...gradient.map(Math.abs), 0.1);
      for (const [index, before] of elements.entries()) {
        if (index % every !== 0) continue;
        elements[index] = before + step;
        const above = await lossAt();
        elements[index] = before - step;
        const below = await lossAt();
        elements[index] = before;
        const difference = (above - below) / (Math.fround(before + step) - Math.fround(before - step));
        assert.ok(
          Math.abs(difference - (gradient[index] as number)) <= tolerance * scale,
          `d_${name}[${index}] is ${gradient[index]}, finite differences give ${difference}`,
        );
      }
    }
  } finally {
    session.dispose();
  }
}

function inputsOf(graph: Graph, fed: Readonly<Record<string, Fed>>): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(fed).map(([name, { shape, data }]) => [
      name,
      input(graph, name, typeof data?.[0] === "bigint" ? "int64" : "float32", shape),
    ]),
  );
}

function valuesOf(fed: Readonly<Record<string, Fed>>): Record<string, Value> {
  return Object.fromEntries(
    Object.entries(fed).map(([name, { shape, data }], index) => [
      name,
      typeof data?.[0] === "bigint"
        ? int64Value(shape, BigInt64Array.from(data as readonly bigint[]))
        : float32Value(shape, data === undefined ? random(count(shape), index + 2) : Float32Array.from(data as readonly number[])),
    ]),
  );
}
