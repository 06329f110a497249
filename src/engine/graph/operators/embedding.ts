/** Rows of a table, by index. */
import { applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { matrixShape, staticMatrix } from "../shape.ts";

const operator: Operator<undefined> = {
  name: "embed",
  outputs: ([table, indices]) => {
    const [, columns] = matrixShape("embed", table as TensorType);
    return [{ type: "float32", shape: [...(indices as TensorType).shape, columns] }];
  },
  lower: (emit, inputs, [output]) => void emit.node("Gather", inputs, { output }),
  gradient: ({ inputs: [table, indices] }, [dy]) => [
    applyOne(gradientOperator, [dy as Tensor, indices as Tensor], { rows: Number((table as Tensor).shape[0]) }),
  ],
};

/**
 * Adds each row of dy to the row of its index. ScatterElements does so one after another, in order: ScatterND may let
 * threads add to one row at the same time.
 */
const gradientOperator: Operator<{ readonly rows: number }> = {
  name: "embedGradient",
  outputs: ([dy], { rows }) => [{ type: "float32", shape: [rows, (dy as TensorType).shape.at(-1) as number] }],
  lower: (emit, [dy, indices], [output], { outputs, inputs }) => {
    const [rows, columns] = staticMatrix("embed", outputs[0] as Tensor);
    const zeros = emit.node("ConstantOfShape", [emit.integers([rows, columns])]);
    const count = Number((inputs[1] as Tensor).shape[0]);
    const column = emit.node("Reshape", [indices as string, emit.integers([count, 1])]);
    const everywhere = emit.node("Expand", [column, emit.integers([count, columns])]);
    emit.node("ScatterElements", [zeros, everywhere, dy as string], {
      output,
      attributes: { axis: { int: 0 }, reduction: { string: "add" } },
    });
  },
};

/** table [rows, n], indices [count] of int64: [count, n]. */
export function embed(table: Tensor, indices: Tensor): Tensor {
  return applyOne(operator, [table, indices], undefined);
}
