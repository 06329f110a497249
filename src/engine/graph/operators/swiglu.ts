/** SwiGLU (arXiv 2002.05202): silu(gate) * up, with silu(a) = a sigmoid(a). */
import { apply, applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { mismatch, sameShape } from "../shape.ts";

/** Outputs: the result, sigmoid(gate), silu(gate). */
const operator: Operator<undefined> = {
  name: "swiglu",
  outputs: ([gate, up]) => {
    const { shape } = gate as TensorType;
    if (!sameShape(shape, (up as TensorType).shape)) throw mismatch("swiglu", shape, (up as TensorType).shape);
    return [0, 1, 2].map(() => ({ type: "float32", shape }));
  },
  lower: (emit, [gate, up], [result, sigmoid, silu]) => {
    const halfway =
      sigmoid === undefined && silu === undefined
        ? emit.node("QuickGelu", [gate as string], { attributes: { alpha: { float: 1 } }, domain: "com.microsoft" })
        : emit.node("Mul", [gate as string, emit.node("Sigmoid", [gate as string], { output: sigmoid })], { output: silu });
    emit.node("Mul", [halfway, up as string], { output: result });
  },
  gradient: ({ inputs, outputs }, [dy]) => [
    ...apply(gradientOperator, [dy as Tensor, inputs[1] as Tensor, outputs[1] as Tensor, outputs[2] as Tensor], undefined),
  ],
};

/** With s = sigmoid(a) and y = silu(a): silu'(a) = s + y (1 - s). */
const gradientOperator: Operator<undefined> = {
  name: "swigluGradient",
  outputs: ([dy]) => [dy as TensorType, dy as TensorType].map(({ shape }) => ({ type: "float32", shape })),
  lower: (emit, names, [dGate, dUp]) => {
    const [dy, up, sigmoid, silu] = names as [string, string, string, string];
    if (dGate !== undefined) {
      const rest = emit.node("Sub", [silu, emit.node("Mul", [silu, sigmoid])]);
      const slope = emit.node("Add", [sigmoid, rest]);
      emit.node("Mul", [emit.node("Mul", [dy, up]), slope], { output: dGate });
    }
    if (dUp !== undefined) emit.node("Mul", [dy, silu], { output: dUp });
  },
};

/** gate and up of one shape. */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return applyOne(operator, [gate, up], undefined);
}
