/** Softmax over the last axis, and choosing values along it. */
import { apply, applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { lastLength, staticShape } from "../shape.ts";
import { multiply, subtract } from "./elementwise.ts";
import { reduceSum } from "./reduce.ts";

const softmaxOperator: Operator<undefined> = {
  name: "softmax",
  outputs: ([x]) => [{ type: "float32", shape: (x as TensorType).shape }],
  lower: (emit, inputs, [output]) => void emit.node("Softmax", inputs, { output, attributes: { axis: { int: -1 } } }),
  gradient: ({ outputs }, [gradient]) => {
    const y = outputs[0] as Tensor;
    const dy = gradient as Tensor;
    return [multiply(y, subtract(dy, reduceSum(multiply(dy, y), [y.shape.length - 1])))];
  },
};

export const softmax = (x: Tensor): Tensor => applyOne(softmaxOperator, [x], undefined);

interface Count {
  readonly count: number;
}

const topOperator: Operator<Count> = {
  name: "largest",
  outputs: ([x], { count }) => {
    const { shape } = x as TensorType;
    if (count > lastLength("largest", shape)) throw new Error(`largest: ${count} of [${shape}]`);
    const chosen = [...shape.slice(0, -1), count];
    return [
      { type: "float32", shape: chosen },
      { type: "int64", shape: chosen },
    ];
  },
  lower: (emit, [x], [values, indices], { attributes }) =>
    void emit.nodes("TopK", [x as string, emit.integers([attributes.count])], [values, indices], {
      attributes: { axis: { int: -1 }, largest: { int: 1 }, sorted: { int: 1 } },
    }),
  gradient: ({ inputs, outputs }, [dy]) => [
    applyOne(scatterOperator, [dy as Tensor, outputs[1] as Tensor], { count: lastLength("largest", (inputs[0] as Tensor).shape) }),
  ],
};

/** The values at their indices among `count` places, and zeros elsewhere. */
const scatterOperator: Operator<Count> = {
  name: "scatter",
  outputs: ([values], { count }) => [{ type: "float32", shape: [...(values as TensorType).shape.slice(0, -1), count] }],
  lower: (emit, [values, indices], [output], { outputs }) => {
    const zeros = emit.node("ConstantOfShape", [emit.integers(staticShape("scatter", (outputs[0] as Tensor).shape))]);
    emit.node("ScatterElements", [zeros, indices as string, values as string], { output, attributes: { axis: { int: -1 } } });
  },
};

const takeOperator: Operator<undefined> = {
  name: "take",
  outputs: ([, indices]) => [{ type: "float32", shape: (indices as TensorType).shape }],
  lower: (emit, inputs, [output]) => void emit.node("GatherElements", inputs, { output, attributes: { axis: { int: -1 } } }),
  gradient: ({ inputs: [x, indices] }, [dy]) => [
    applyOne(scatterOperator, [dy as Tensor, indices as Tensor], { count: lastLength("take", (x as Tensor).shape) }),
  ],
};

/** The values of x [.., n] at `indices` [.., count] of int64 along the last axis, no index twice in a row. */
export const take = (x: Tensor, indices: Tensor): Tensor => applyOne(takeOperator, [x, indices], undefined);

/** The `count` largest along the last axis, falling, and where they stand; the lower index comes first among equals. The choice itself has no gradient. */
export function largest(x: Tensor, count: number): { values: Tensor; indices: Tensor } {
  const [values, indices] = apply(topOperator, [x], { count }) as [Tensor, Tensor];
  return { values, indices };
}
