/**
 * RMSNorm (arXiv 1910.07467): each row divided by its root mean square, times a learned weight. LayerNorm (arXiv 1607.06450): the same of the row less its
 * mean, plus a learned bias.
 */
import { apply, applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { matrixShape, mismatch, sameShape, staticMatrix } from "../shape.ts";

interface Epsilon {
  readonly epsilon: number;
}

/** Outputs: the result, and 1 / root mean square of each row, which the gradient uses again. */
const operator: Operator<Epsilon> = {
  name: "rmsNorm",
  outputs: ([x, weight]) => {
    const { shape } = x as TensorType;
    const [rows, columns] = matrixShape("rmsNorm", x as TensorType);
    if (!sameShape((weight as TensorType).shape, [columns])) throw mismatch("rmsNorm", shape, (weight as TensorType).shape);
    return [
      { type: "float32", shape },
      { type: "float32", shape: [rows, 1] },
    ];
  },
  lower: (emit, inputs, outputs, { attributes: { epsilon } }) =>
    void emit.nodes("SimplifiedLayerNormalization", inputs, outputs, {
      attributes: { axis: { int: -1 }, epsilon: { float: epsilon }, stash_type: { int: 1 } },
    }),
  gradient: ({ inputs, outputs }, [dy]) => [
    ...apply(gradientOperator, [dy as Tensor, inputs[0] as Tensor, inputs[1] as Tensor, outputs[1] as Tensor], undefined),
  ],
};

/**
 * With r the inverse root mean square of a row x of n elements and w the weight, y = x r w, and
 * dx = r (dy w - x r^2 sum(dy x w) / n); dw sums dy x r over the rows. Both sums are products of a row vector with dy x, which ONNX Runtime
 * computes without packing anything.
 */
const gradientOperator: Operator<undefined> = {
  name: "rmsNormGradient",
  outputs: ([, x, weight]) => [
    { type: "float32", shape: (x as TensorType).shape },
    { type: "float32", shape: (weight as TensorType).shape },
  ],
  lower: (emit, names, [dx, dw], { inputs }) => {
    const [dy, x, weight, inverse] = names as [string, string, string, string];
    const [rows, columns] = staticMatrix("rmsNorm", inputs[1] as Tensor);
    const product = emit.node("Mul", [dy, x]);
    if (dx !== undefined) {
      const row = emit.node("Reshape", [emit.node("Mul", [weight, emit.float(1 / columns)]), emit.integers([1, columns])]);
      const means = emit.node("Gemm", [row, product], { attributes: { transB: { int: 1 } } });
      const factor = emit.node("Mul", [emit.node("Mul", [inverse, inverse]), emit.node("Reshape", [means, emit.integers([rows, 1])])]);
      const difference = emit.node("Sub", [emit.node("Mul", [dy, weight]), emit.node("Mul", [x, factor])]);
      emit.node("Mul", [difference, inverse], { output: dx });
    }
    if (dw !== undefined) {
      const summed = emit.node("Gemm", [emit.node("Reshape", [inverse, emit.integers([1, rows])]), product]);
      emit.node("Reshape", [summed, emit.integers([columns])], { output: dw });
    }
  },
};

/** x [rows, n], weight [n]. */
export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  return applyOne(operator, [x, weight], { epsilon });
}

/** Outputs: the result, and mean and 1 / deviation of each row, which the gradient uses again. */
const layerOperator: Operator<Epsilon> = {
  name: "layerNorm",
  outputs: ([x, weight, bias]) => {
    const { shape } = x as TensorType;
    const [rows, columns] = matrixShape("layerNorm", x as TensorType);
    for (const one of [weight, bias] as [TensorType, TensorType]) {
      if (!sameShape(one.shape, [columns])) throw mismatch("layerNorm", shape, one.shape);
    }
    return [shape, [rows, 1], [rows, 1]].map((one) => ({ type: "float32", shape: one }));
  },
  lower: (emit, inputs, outputs, { attributes: { epsilon } }) =>
    void emit.nodes("LayerNormalization", inputs, outputs, { attributes: { axis: { int: -1 }, epsilon: { float: epsilon } } }),
  gradient: ({ inputs, outputs }, [dy]) => [
    ...apply(layerGradientOperator, [dy as Tensor, inputs[0] as Tensor, inputs[1] as Tensor, ...outputs.slice(1)], undefined),
  ],
};

/** With z = (x - mean) r and g = dy w: dx = r (g - mean(g) - z mean(g z)); dw and db sum dy z and dy over the rows. */
const layerGradientOperator: Operator<undefined> = {
  name: "layerNormGradient",
  outputs: ([, x, weight]) => [x, weight, weight].map((one) => ({ type: "float32", shape: (one as TensorType).shape })),
  lower: (emit, names, [dx, dw, db]) => {
    const [dy, x, weight, mean, inverse] = names as [string, string, string, string, string];
    const normed = emit.node("Mul", [emit.node("Sub", [x, mean]), inverse]);
    const overRows = (values: string, output: string) =>
      emit.node("ReduceSum", [values, emit.integers([0])], { output, attributes: { keepdims: { int: 0 } } });
    if (dx !== undefined) {
      const weighed = emit.node("Mul", [dy, weight]);
      const average = (values: string) => emit.node("ReduceMean", [values, emit.integers([-1])]);
      const along = emit.node("Mul", [normed, average(emit.node("Mul", [weighed, normed]))]);
      const across = emit.node("Sub", [emit.node("Sub", [weighed, average(weighed)]), along]);
      emit.node("Mul", [across, inverse], { output: dx });
    }
    if (dw !== undefined) overRows(emit.node("Mul", [dy, normed]), dw);
    if (db !== undefined) overRows(dy, db);
  },
};

/** x [rows, n], weight [n], bias [n]. */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: number): Tensor {
  return applyOne(layerOperator, [x, weight, bias], { epsilon });
}
