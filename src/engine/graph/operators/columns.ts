/** Taking a tensor apart along its last axis, and putting parts side by side: each is the other's gradient. */
import { apply, applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { lastLength, mismatch, sameShape } from "../shape.ts";

interface Widths {
  readonly widths: readonly number[];
}

const last = { axis: { int: -1 } };
const widened = ({ shape }: TensorType, width: number): TensorType => ({ type: "float32", shape: [...shape.slice(0, -1), width] });

function allParts(name: string, gradients: readonly (Tensor | undefined)[]): Tensor[] {
  if (gradients.includes(undefined)) throw new Error(`${name}: a part does not reach the loss`);
  return gradients as Tensor[];
}

const splitOperator: Operator<Widths> = {
  name: "splitColumns",
  outputs: ([x], { widths }) => {
    const { shape } = x as TensorType;
    const total = widths.reduce((sum, width) => sum + width, 0);
    if (lastLength("splitColumns", shape) !== total) throw mismatch("splitColumns", shape, widths);
    return widths.map((width) => widened(x as TensorType, width));
  },
  lower: (emit, [x], outputs, { attributes: { widths } }) =>
    void emit.nodes("Split", [x as string, emit.integers(widths)], outputs, { attributes: last }),
  gradient: (_node, gradients) => [joinColumns(allParts("splitColumns", gradients))],
};

const joinOperator: Operator<undefined> = {
  name: "joinColumns",
  outputs: (parts) => {
    const before = (parts[0] as TensorType).shape.slice(0, -1);
    for (const { shape } of parts) if (!sameShape(shape.slice(0, -1), before)) throw mismatch("joinColumns", before, shape);
    const width = parts.reduce((sum, { shape }) => sum + lastLength("joinColumns", shape), 0);
    return [{ type: (parts[0] as TensorType).type, shape: [...before, width] }];
  },
  lower: (emit, parts, [output]) => void emit.node("Concat", parts, { output, attributes: last }),
  gradient: ({ inputs }, [dy]) => [
    ...splitColumns(
      dy as Tensor,
      inputs.map(({ shape }) => lastLength("joinColumns", shape)),
    ),
  ],
};

/** x [.., sum of widths] to a part of each width. */
export function splitColumns(x: Tensor, widths: readonly number[]): readonly Tensor[] {
  return widths.length === 1 ? [x] : apply(splitOperator, [x], { widths });
}

/** Parts [.., width] of any widths to [.., sum of widths]. */
export function joinColumns(parts: readonly Tensor[]): Tensor {
  return parts.length === 1 ? (parts[0] as Tensor) : applyOne(joinOperator, parts, undefined);
}

const alternationOperator: Operator<undefined> = {
  name: "splitAlternating",
  outputs: ([x]) => {
    const width = lastLength("splitAlternating", (x as TensorType).shape);
    if (width % 2 !== 0) throw new Error(`splitAlternating: ${width} columns are not pairs`);
    return [widened(x as TensorType, width / 2), widened(x as TensorType, width / 2)];
  },
  lower: (emit, [x], outputs, { inputs }) => {
    const width = lastLength("splitAlternating", (inputs[0] as Tensor).shape);
    for (const [start, output] of outputs.entries()) {
      if (output === undefined) continue;
      const [from, to, axes, steps] = [[start], [width], [-1], [2]].map((numbers) => emit.integers(numbers));
      emit.node("Slice", [x as string, from as string, to as string, axes as string, steps as string], { output });
    }
  },
  gradient: (_node, gradients) => [applyOne(interleaveOperator, allParts("splitAlternating", gradients), undefined)],
};

const interleaveOperator: Operator<undefined> = {
  name: "interleave",
  outputs: ([a]) => [widened(a as TensorType, 2 * lastLength("interleave", (a as TensorType).shape))],
  lower: (emit, parts, [output], { outputs }) => {
    const pairs = parts.map((part) => emit.node("Unsqueeze", [part, emit.integers([-1])]));
    const { shape } = outputs[0] as Tensor;
    // A zero keeps the length that the joined tensor has there, which may be known only when the graph runs.
    const lengths = [...shape.slice(0, -1).map(() => 0), lastLength("interleave", shape)];
    emit.node("Reshape", [emit.node("Concat", pairs, { attributes: last }), emit.integers(lengths)], { output });
  },
};

/** x [.., 2 n] to its even and its odd columns, [.., n] each. */
export function splitAlternating(x: Tensor): readonly [even: Tensor, odd: Tensor] {
  return apply(alternationOperator, [x], undefined) as readonly [Tensor, Tensor];
}
