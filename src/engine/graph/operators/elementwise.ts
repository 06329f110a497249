/** Arithmetic element by element, with broadcasting as in ONNX and numpy. */
import { applyOne, type GraphNode, type Operator, scalar, type Tensor, type TensorType } from "../graph.ts";
import { broadcastShape, mismatch, sameShape } from "../shape.ts";
import { reduceTo } from "./reduce.ts";

type Binary = Operator<undefined>;

function binary(name: string, onnx: string, gradient: Binary["gradient"]): Binary {
  return {
    name,
    outputs: ([a, b]) => [{ type: "float32", shape: broadcastShape(name, (a as TensorType).shape, (b as TensorType).shape) }],
    lower: (emit, inputs, [output]) => void emit.node(onnx, inputs, { output }),
    ...(gradient === undefined ? {} : { gradient }),
  };
}

function unary(name: string, onnx: string, gradient: (x: Tensor, y: Tensor, dy: Tensor) => Tensor): Operator<undefined> {
  return {
    name,
    outputs: ([x]) => [{ type: "float32", shape: (x as TensorType).shape }],
    lower: (emit, inputs, [output]) => void emit.node(onnx, inputs, { output }),
    gradient: ({ inputs, outputs }, [dy]) => [gradient(inputs[0] as Tensor, outputs[0] as Tensor, dy as Tensor)],
  };
}

/** The two inputs of a node, and its output's gradient brought to each one's shape by `parts`, where wanted. */
function binaryGradient(
  parts: (a: Tensor, b: Tensor, dy: Tensor) => readonly [() => Tensor, () => Tensor],
): NonNullable<Binary["gradient"]> {
  return ({ inputs }: GraphNode<undefined>, [dy], wanted) => {
    const [a, b] = inputs as [Tensor, Tensor];
    const [da, db] = parts(a, b, dy as Tensor);
    return [wanted[0] ? reduceTo(da(), a.shape) : undefined, wanted[1] ? reduceTo(db(), b.shape) : undefined];
  };
}

const addition = binary(
  "add",
  "Add",
  binaryGradient((_a, _b, dy) => [() => dy, () => dy]),
);
const subtraction = binary(
  "subtract",
  "Sub",
  binaryGradient((_a, _b, dy) => [() => dy, () => multiply(dy, scalar(dy.graph, -1))]),
);
const multiplication = binary(
  "multiply",
  "Mul",
  binaryGradient((a, b, dy) => [() => multiply(dy, b), () => multiply(dy, a)]),
);
const division = binary(
  "divide",
  "Div",
  binaryGradient((a, b, dy) => [() => divide(dy, b), () => multiply(multiply(dy, divide(a, multiply(b, b))), scalar(dy.graph, -1))]),
);
/** Without a gradient: it serves the clip of the optimizer. */
const smaller = binary("minimum", "Min", undefined);

export const add = (a: Tensor, b: Tensor): Tensor => applyOne(addition, [a, b], undefined);
export const subtract = (a: Tensor, b: Tensor): Tensor => applyOne(subtraction, [a, b], undefined);
export const multiply = (a: Tensor, b: Tensor): Tensor => applyOne(multiplication, [a, b], undefined);
export const divide = (a: Tensor, b: Tensor): Tensor => applyOne(division, [a, b], undefined);
export const minimum = (a: Tensor, b: Tensor): Tensor => applyOne(smaller, [a, b], undefined);

const root = unary("squareRoot", "Sqrt", (_x, y, dy) => multiply(divide(dy, y), scalar(dy.graph, 0.5)));
export const squareRoot = (x: Tensor): Tensor => applyOne(root, [x], undefined);

const summation: Operator<undefined> = {
  name: "sum",
  outputs: (inputs) => {
    const { shape } = inputs[0] as TensorType;
    for (const one of inputs) if (!sameShape(one.shape, shape)) throw mismatch("sum", shape, one.shape);
    return [{ type: "float32", shape }];
  },
  lower: (emit, inputs, [output]) => void emit.node("Sum", inputs, { output }),
  gradient: ({ inputs }, [dy]) => inputs.map(() => dy),
};

/** The sum of tensors of one shape; of one tensor, itself. */
export function sum(tensors: readonly Tensor[]): Tensor {
  const [first, second] = tensors;
  if (first === undefined) throw new Error("sum of nothing");
  if (second === undefined) return first;
  return tensors.length === 2 ? add(first, second) : applyOne(summation, tensors, undefined);
}
