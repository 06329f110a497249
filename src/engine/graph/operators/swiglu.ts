/** SwiGLU (arXiv 2002.05202): silu(gate) * up, with silu(a) = a sigmoid(a); and gpt-oss's variant, with a sigmoid(s a) and bounds. */
import { apply, applyOne, type Operator, scalar, type Tensor, type TensorType } from "../graph.ts";
import { mismatch, sameShape } from "../shape.ts";
import { add, clamp } from "./elementwise.ts";

interface Steepness {
  /** s in silu(a) = a sigmoid(s a). */
  readonly steepness: number;
}

/** Outputs: the result, sigmoid(s gate), silu(gate). */
const operator: Operator<Steepness> = {
  name: "swiglu",
  outputs: ([gate, up]) => {
    const { shape } = gate as TensorType;
    if (!sameShape(shape, (up as TensorType).shape)) throw mismatch("swiglu", shape, (up as TensorType).shape);
    return [0, 1, 2].map(() => ({ type: "float32", shape }));
  },
  lower: (emit, [gate, up], [result, sigmoid, silu], { attributes: { steepness } }) => {
    const steep = () => (steepness === 1 ? (gate as string) : emit.node("Mul", [gate as string, emit.float(steepness)]));
    const halfway =
      sigmoid === undefined && silu === undefined
        ? emit.node("QuickGelu", [gate as string], { attributes: { alpha: { float: steepness } }, domain: "com.microsoft" })
        : emit.node("Mul", [gate as string, emit.node("Sigmoid", [steep()], { output: sigmoid })], { output: silu });
    emit.node("Mul", [halfway, up as string], { output: result });
  },
  gradient: ({ inputs, outputs, attributes }, [dy]) => [
    ...apply(gradientOperator, [dy as Tensor, inputs[1] as Tensor, outputs[1] as Tensor, outputs[2] as Tensor], attributes),
  ],
};

/** With g = sigmoid(s a) and y = silu(a) = a g: silu'(a) = g + s y (1 - g). */
const gradientOperator: Operator<Steepness> = {
  name: "swigluGradient",
  outputs: ([dy]) => [dy as TensorType, dy as TensorType].map(({ shape }) => ({ type: "float32", shape })),
  lower: (emit, names, [dGate, dUp], { attributes: { steepness } }) => {
    const [dy, up, sigmoid, silu] = names as [string, string, string, string];
    if (dGate !== undefined) {
      const rest = emit.node("Sub", [silu, emit.node("Mul", [silu, sigmoid])]);
      const slope = emit.node("Add", [sigmoid, steepness === 1 ? rest : emit.node("Mul", [rest, emit.float(steepness)])]);
      emit.node("Mul", [emit.node("Mul", [dy, up]), slope], { output: dGate });
    }
    if (dUp !== undefined) emit.node("Mul", [dy, silu], { output: dUp });
  },
};

/** gate and up of one shape. */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return applyOne(operator, [gate, up], { steepness: 1 });
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
