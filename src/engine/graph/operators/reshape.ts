/** A tensor of the same elements in another shape. */
import { applyOne, type Operator, type Shape, type Tensor, type TensorType } from "../graph.ts";
import { mismatch, sameShape, staticCount, staticShape } from "../shape.ts";

const operator: Operator<{ readonly shape: readonly number[] }> = {
  name: "reshape",
  outputs: ([x], { shape }) => {
    const { type, shape: before } = x as TensorType;
    if (staticCount("reshape", before) !== staticCount("reshape", shape)) throw mismatch("reshape", before, shape);
    return [{ type, shape }];
  },
  lower: (emit, [x], [output], { attributes }) => void emit.node("Reshape", [x as string, emit.integers(attributes.shape)], { output }),
  gradient: ({ inputs }, [dy]) => [reshape(dy as Tensor, (inputs[0] as Tensor).shape)],
};

/** `x` in another static shape of as many elements; costs nothing. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : applyOne(operator, [x], { shape: staticShape("reshape", shape) });
}
