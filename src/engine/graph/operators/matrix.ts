/** The product of two matrices, either of them transposed, and what is added to it: ONNX's Gemm, which transposes while it packs and so for nothing. */
import { applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { matrixShape, mismatch, sameShape } from "../shape.ts";
import { add, sum } from "./elementwise.ts";

interface Transposed {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

const operator: Operator<Transposed> = {
  name: "matrixProduct",
  outputs: ([a, b, added], { transposeA, transposeB }) => {
    const left = matrixShape("matrixProduct", a as TensorType);
    const right = matrixShape("matrixProduct", b as TensorType);
    const [rows, inner] = transposeA ? [left[1], left[0]] : left;
    const [innerAgain, columns] = transposeB ? [right[1], right[0]] : right;
    if (inner !== innerAgain) throw mismatch(`matrixProduct ${JSON.stringify({ transposeA, transposeB })}`, left, right);
    if (added !== undefined && !sameShape(added.shape, [rows, columns])) throw mismatch("matrixProduct", [rows, columns], added.shape);
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
    return [wanted[0] ? da() : undefined, wanted[1] ? db() : undefined, wanted[2] ? dy : undefined];
  },
};

/** The products that were made, to be made again with something added. */
const products = new WeakMap<Tensor, readonly [a: Tensor, b: Tensor, transposed: Transposed]>();

/** op(a) op(b), with op a transposition where asked for. */
export function matrixProduct(a: Tensor, b: Tensor, transposed: Transposed = {}): Tensor {
  const product = applyOne(operator, [a, b], transposed);
  products.set(product, [a, b, transposed]);
  return product;
}

/** The sum of tensors of one shape. A product adds to what is there while it is computed, where it would be written and read again. */
export function sumOfProducts(tensors: readonly Tensor[]): Tensor {
  const plain = tensors.filter((one) => !products.has(one));
  return tensors
    .filter((one) => products.has(one))
    .reduce<Tensor | undefined>(
      (total, product) => {
        if (total === undefined) return product;
        const [a, b, transposed] = products.get(product) as [Tensor, Tensor, Transposed];
        return applyOne(operator, [a, b, total], transposed);
      },
      plain.length === 0 ? undefined : sum(plain),
    ) as Tensor;
}

/**
 * A linear map: x [rows, in] by a weight [out, in], as checkpoints store it, or [in, out] where `inputFirst`, and plus a bias [out] where there is one:
 * [rows, out].
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, inputFirst = false): Tensor {
  const product = matrixProduct(x, weight, { transposeB: !inputFirst });
  return bias === undefined ? product : add(product, bias);
}
