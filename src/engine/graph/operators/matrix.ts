/** The product of two matrices, either of them transposed: ONNX's Gemm, which transposes while it packs and so for nothing. */
import { applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { matrixShape, mismatch } from "../shape.ts";
import { add } from "./elementwise.ts";

interface Transposed {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

const operator: Operator<Transposed> = {
  name: "matrixProduct",
  outputs: ([a, b], { transposeA, transposeB }) => {
    const left = matrixShape("matrixProduct", a as TensorType);
    const right = matrixShape("matrixProduct", b as TensorType);
    const [rows, inner] = transposeA ? [left[1], left[0]] : left;
    const [innerAgain, columns] = transposeB ? [right[1], right[0]] : right;
    if (inner !== innerAgain) throw mismatch(`matrixProduct ${JSON.stringify({ transposeA, transposeB })}`, left, right);
    return [{ type: "float32", shape: [rows, columns] }];
  },
  lower: (emit, inputs, [output], { attributes: { transposeA, transposeB } }) => {
    const attributes = { transA: { int: transposeA ? 1 : 0 }, transB: { int: transposeB ? 1 : 0 } };
    emit.node("Gemm", inputs, { output, attributes });
  },
  // With X = op(A), Z = op(B), Y = X Z: dX = dY Z^T and dZ = X^T dY, and where A is transposed dA = dX^T = Z dY^T.
  gradient: ({ inputs, attributes: { transposeA = false, transposeB = false } }, [gradient], wanted) => {
    const [a, b] = inputs as [Tensor, Tensor];
    const dy = gradient as Tensor;
    const da = () =>
      transposeA ? matrixProduct(b, dy, { transposeA: transposeB, transposeB: true }) : matrixProduct(dy, b, { transposeB: !transposeB });
    const db = () =>
      transposeB ? matrixProduct(dy, a, { transposeA: true, transposeB: transposeA }) : matrixProduct(a, dy, { transposeA: !transposeA });
    return [wanted[0] ? da() : undefined, wanted[1] ? db() : undefined];
  },
};

/** op(a) op(b), with op a transposition where asked for. */
export function matrixProduct(a: Tensor, b: Tensor, transposed: Transposed = {}): Tensor {
  return applyOne(operator, [a, b], transposed);
}

/**
 * A linear map: x [rows, in] by a weight [out, in], as checkpoints store it, or [in, out] where `inputFirst`, and plus a bias [out] where there is one:
 * [rows, out].
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, inputFirst = false): Tensor {
  const product = matrixProduct(x, weight, { transposeB: !inputFirst });
  return bias === undefined ? product : add(product, bias);
}
