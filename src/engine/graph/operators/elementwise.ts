/** Arithmetic element by element, with broadcasting as in ONNX and numpy. */
import { applyOne, type Operator, scalar, type Tensor, type TensorType } from "../graph.ts";
import { broadcastShape, mismatch, sameShape } from "../shape.ts";
import { reduceTo } from "./reduce.ts";

/** An operator of two tensors; `parts` gives each one's gradient in the result's shape, of which the sum over what was broadcast is taken. */
function binary(
  name: string,
  onnx: string,
  parts: (a: Tensor, b: Tensor, dy: Tensor) => [() => Tensor, () => Tensor],
): Operator<undefined> {
  return {
    name,
    outputs: ([a, b]) => [{ type: "float32", shape: broadcastShape(name, (a as TensorType).shape, (b as TensorType).shape) }],
    lower: (emit, inputs, [output]) => void emit.node(onnx, inputs, { output }),
    gradient: ({ inputs }, [dy], wanted) => {
      const [a, b] = inputs as [Tensor, Tensor];
      const [da, db] = parts(a, b, dy as Tensor);
      return [wanted[0] ? reduceTo(da(), a.shape) : undefined, wanted[1] ? reduceTo(db(), b.shape) : undefined];
    },
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

const addition = binary("add", "Add", (_a, _b, dy) => [() => dy, () => dy]);
const subtraction = binary("subtract", "Sub", (_a, _b, dy) => [() => dy, () => negate(dy)]);
const multiplication = binary("multiply", "Mul", (a, b, dy) => [() => multiply(dy, b), () => multiply(dy, a)]);
const division = binary("divide", "Div", (a, b, dy) => [() => divide(dy, b), () => negate(multiply(dy, divide(a, multiply(b, b))))]);

export const add = (a: Tensor, b: Tensor): Tensor => applyOne(addition, [a, b], undefined);
export const subtract = (a: Tensor, b: Tensor): Tensor => applyOne(subtraction, [a, b], undefined);
export const multiply = (a: Tensor, b: Tensor): Tensor => applyOne(multiplication, [a, b], undefined);
export const divide = (a: Tensor, b: Tensor): Tensor => applyOne(division, [a, b], undefined);
const negate = (a: Tensor): Tensor => multiply(a, scalar(a.graph, -1));

const root = unary("squareRoot", "Sqrt", (_x, y, dy) => multiply(divide(dy, y), scalar(dy.graph, 0.5)));
export const squareRoot = (x: Tensor): Tensor => applyOne(root, [x], undefined);

const logistic = unary("sigmoid", "Sigmoid", (_x, y, dy) => multiply(dy, multiply(y, subtract(scalar(dy.graph, 1), y))));
/** 1 / (1 + exp(-x)) */
export const sigmoid = (x: Tensor): Tensor => applyOne(logistic, [x], undefined);

interface Bounds {
  readonly least: number;
  readonly most: number;
}

const clampOperator: Operator<Bounds> = {
  name: "clamp",
  outputs: ([x]) => [{ type: "float32", shape: (x as TensorType).shape }],
  lower: (emit, [x], [output], { attributes: { least, most } }) =>
    void emit.node("Clip", [x as string, emit.float(least), emit.float(most)], { output }),
  gradient: ({ inputs, attributes }, [dy]) => [applyOne(clampGradientOperator, [dy as Tensor, inputs[0] as Tensor], attributes)],
};

const clampGradientOperator: Operator<Bounds> = {
  name: "clampGradient",
  outputs: ([dy]) => [{ type: "float32", shape: (dy as TensorType).shape }],
  lower: (emit, [dy, x], [output], { attributes: { least, most } }) => {
    const [above, below] = [
      emit.node("GreaterOrEqual", [x as string, emit.float(least)]),
      emit.node("LessOrEqual", [x as string, emit.float(most)]),
    ];
    emit.node("Where", [emit.node("And", [above, below]), dy as string, emit.float(0)], { output });
  },
};

/** x, but never below `least` nor above `most`; its gradient passes where x is within the bounds, themselves included, as torch.clamp's does. */
export const clamp = (x: Tensor, least: number, most: number): Tensor => applyOne(clampOperator, [x], { least, most });

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
