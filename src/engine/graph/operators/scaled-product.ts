/** alpha a b + beta c in one node, ONNX's Gemm as BLAS knows it. Without a gradient: it serves optimizers. */
import { applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { matrixShape, mismatch, sameShape } from "../shape.ts";

interface Scaled {
  readonly alpha: number;
  readonly beta: number;
}

const operator: Operator<Scaled> = {
  name: "scaledProduct",
  outputs: ([a, b, c]) => {
    const [rows, inner] = matrixShape("scaledProduct", a as TensorType);
    const [innerAgain, columns] = matrixShape("scaledProduct", b as TensorType);
    const { shape } = c as TensorType;
    if (inner !== innerAgain || !sameShape(shape, [rows, columns]))
      throw mismatch("scaledProduct", (a as TensorType).shape, (b as TensorType).shape, shape);
    return [{ type: "float32", shape }];
  },
  lower: (emit, inputs, [output], { attributes: { alpha, beta } }) =>
    void emit.node("Gemm", inputs, { output, attributes: { alpha: { float: alpha }, beta: { float: beta } } }),
};

/** alpha a b + beta c, of matrices a [rows, inner], b [inner, columns] and c [rows, columns]. */
export const scaledProduct = (a: Tensor, b: Tensor, c: Tensor, scales: Scaled): Tensor => applyOne(operator, [a, b, c], scales);
