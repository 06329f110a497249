/** Sums and means over axes, and their opposite, expansion. */
import { applyOne, type Operator, type Shape, scalar, type Tensor, type TensorType } from "../graph.ts";
import { broadcastShape, sameShape, staticCount } from "../shape.ts";
import { multiply } from "./elementwise.ts";
import { reshape } from "./reshape.ts";

interface Axes {
  readonly axes: readonly number[];
}

const sumOperator: Operator<Axes> = {
  name: "reduceSum",
  outputs: ([x], { axes }) => {
    const { shape } = x as TensorType;
    for (const axis of axes) if (!(axis in shape)) throw new Error(`reduceSum: [${shape}] has no axis ${axis}`);
    return [{ type: "float32", shape: shape.map((length, axis) => (axes.includes(axis) ? 1 : length)) }];
  },
  lower: (emit, [x], [output], { attributes }) =>
    void emit.node("ReduceSum", [x as string, emit.integers(attributes.axes)], { output, attributes: { keepdims: { int: 1 } } }),
  gradient: ({ inputs }, [dy]) => [expandLike(dy as Tensor, inputs[0] as Tensor)],
};

/** The sum over `axes`, which stay as lengths of 1. */
export function reduceSum(x: Tensor, axes: readonly number[]): Tensor {
  return axes.length === 0 ? x : applyOne(sumOperator, [x], { axes });
}

/** The mean of all elements of a tensor of static shape, as a scalar. */
export function mean(x: Tensor): Tensor {
  const all = reduceSum(x, [...x.shape.keys()]);
  return multiply(reshape(all, []), scalar(x.graph, 1 / staticCount("mean", x.shape)));
}

/** Sums a gradient over the axes along which its tensor was broadcast, so that it has that tensor's shape again. */
export function reduceTo(gradient: Tensor, shape: Shape): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient;
  const added = gradient.shape.length - shape.length;
  const axes = [...gradient.shape.keys()].filter((axis) => axis < added || (shape[axis - added] === 1 && gradient.shape[axis] !== 1));
  const summed = reduceSum(gradient, axes);
  return added === 0 ? summed : reshape(summed, shape);
}

const expansion: Operator<undefined> = {
  name: "expandLike",
  outputs: ([x, like]) => {
    const { shape } = like as TensorType;
    const broadcast = broadcastShape("expandLike", (x as TensorType).shape, shape);
    if (!sameShape(broadcast, shape)) throw new Error(`expandLike: [${(x as TensorType).shape}] does not expand to [${shape}]`);
    return [{ type: "float32", shape }];
  },
  lower: (emit, [x, like], [output]) => void emit.node("Expand", [x as string, emit.node("Shape", [like as string])], { output }),
  gradient: ({ inputs }, [dy], wanted) => [wanted[0] ? reduceTo(dy as Tensor, (inputs[0] as Tensor).shape) : undefined],
};

/** `x` repeated to the shape of `like`, whose values do not matter. */
export function expandLike(x: Tensor, like: Tensor): Tensor {
  return sameShape(x.shape, like.shape) ? x : applyOne(expansion, [x, like], undefined);
}

const squares: Operator<undefined> = {
  name: "sumOfSquares",
  outputs: () => [{ type: "float32", shape: [] }],
  lower: (emit, inputs, [output]) => void emit.node("ReduceSumSquare", inputs, { output, attributes: { keepdims: { int: 0 } } }),
  gradient: ({ inputs }, [dy]) => [multiply(multiply(inputs[0] as Tensor, scalar((dy as Tensor).graph, 2)), dy as Tensor)],
};

/** The sum of the squares of all elements, as a scalar. */
export const sumOfSquares = (x: Tensor): Tensor => applyOne(squares, [x], undefined);

const stacking: Operator<undefined> = {
  name: "stack",
  outputs: (inputs) => {
    for (const { shape } of inputs) if (shape.length !== 0) throw new Error(`stack: [${shape}] is no scalar`);
    return [{ type: "float32", shape: [inputs.length] }];
  },
  lower: (emit, inputs, [output]) => {
    const single = inputs.map((one) => emit.node("Reshape", [one, emit.integers([1])]));
    emit.node("Concat", single, { output, attributes: { axis: { int: 0 } } });
  },
};

/** Scalars as one vector. Without a gradient: it serves to read many numbers at once. */
export const stack = (scalars: readonly Tensor[]): Tensor => applyOne(stacking, scalars, undefined);
