/** SwiGLU (arXiv 2002.05202): silu(gate) * up, with silu(a) = a sigmoid(a); and gpt-oss's variant, with a sigmoid(s a) and bounds. */
import { apply, applyOne, type Operator, scalar, type Tensor, type TensorType } from "../graph.ts";
import { mismatch, sameShape } from "../shape.ts";
import { add, clamp } from "./elementwise.ts";

interface Steepness {
  /** s in silu(a) = a sigmoid(s a). */
  readonly steepness: number;
}

/** Inputs: gate, up, and a weight of each row where there is one. */
const operator: Operator<Steepness> = {
  name: "swiglu",
  outputs: ([gate, up, weight]) => {
    const { shape } = gate as TensorType;
    if (!sameShape(shape, (up as TensorType).shape)) throw mismatch("swiglu", shape, (up as TensorType).shape);
    const column = [...shape.slice(0, -1), 1];
    if (weight !== undefined && !sameShape(weight.shape, column)) throw mismatch("swiglu", column, weight.shape);
    return [{ type: "float32", shape }];
  },
  lower: (emit, [gate, up, weight], [output], { attributes: { steepness } }) => {
    const silu = emit.node("QuickGelu", [gate as string], { attributes: { alpha: { float: steepness } }, domain: "com.microsoft" });
    if (weight === undefined) emit.node("Mul", [silu, up as string], { output });
    else emit.node("Mul", [emit.node("Mul", [silu, up as string]), weight], { output });
  },
  gradient: ({ inputs, attributes }, [dy]) => [...apply(gradientOperator, [dy as Tensor, ...inputs], attributes)],
};

/**
 * With g = sigmoid(s a), y = silu(a) = a g and q = dy up: the gate's gradient is q (g + s y (1 - g)) = g (q - s q y) + s q y, and a row's weight has the sum of
 * q y. g and y are computed again rather than kept: they would have left the cache, and half of what an expert keeps would be theirs.
 */
const gradientOperator: Operator<Steepness> = {
  name: "swigluGradient",
  outputs: ([, ...inputs]) => inputs.map(({ shape }) => ({ type: "float32", shape })),
  lower: (emit, [dy, gate, up, weight], [dGate, dUp, dWeight], { attributes: { steepness } }) => {
    const [upstream, a] = [dy as string, gate as string];
    const steep = (x: string) => (steepness === 1 ? x : emit.node("Mul", [x, emit.float(steepness)]));
    const weighed = (x: readonly [string, string], operator: "Mul" | "Add", output: string) =>
      void (weight === undefined ? emit.node(operator, x, { output }) : emit.node("Mul", [emit.node(operator, x), weight], { output }));
    const sigmoid = emit.node("Sigmoid", [steep(a)]);
    const silu = emit.node("Mul", [a, sigmoid]);
    if (dUp !== undefined) weighed([upstream, silu], "Mul", dUp);
    if (dGate === undefined && dWeight === undefined) return;
    const through = emit.node("Mul", [upstream, up as string]);
    const along = emit.node("Mul", [through, silu]);
    if (dWeight !== undefined) emit.node("ReduceSum", [along, emit.integers([-1])], { output: dWeight });
    if (dGate === undefined) return;
    const bent = steep(along);
    weighed([emit.node("Mul", [sigmoid, emit.node("Sub", [through, bent])]), bent], "Add", dGate);
  },
};

/** gate and up of one shape [.., n]; the result's rows are multiplied by `weight` [.., 1] where there is one. */
export function swiglu(gate: Tensor, up: Tensor, weight?: Tensor): Tensor {
  return applyOne(operator, weight === undefined ? [gate, up] : [gate, up, weight], { steepness: 1 });
}

export interface ClampedSwiglu {
  readonly steepness: number;
  /** Most that the gate may be, and that up may be on either side of zero. */
  readonly limit: number;
}

/** a sigmoid(s a) (up + 1), with a the gate bounded from above and up from both sides. */
export function clampedSwiglu(gate: Tensor, up: Tensor, { steepness, limit }: ClampedSwiglu): Tensor {
  const bounded = clamp(gate, Number.NEGATIVE_INFINITY, limit);
  return applyOne(operator, [bounded, add(clamp(up, -limit, limit), scalar(up.graph, 1))], { steepness });
}
