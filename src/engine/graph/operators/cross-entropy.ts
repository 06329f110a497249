/** Cross-entropy of a softmax: the negative logarithm of the probability of the right class. */
import { applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { matrixShape, mismatch, sameShape } from "../shape.ts";

/** Outputs: the losses, and the logarithms of all probabilities. */
const operator: Operator<undefined> = {
  name: "crossEntropy",
  outputs: ([logits, targets]) => {
    const [rows, classes] = matrixShape("crossEntropy", logits as TensorType);
    if (!sameShape((targets as TensorType).shape, [rows])) throw mismatch("crossEntropy", [rows, classes], (targets as TensorType).shape);
    return [
      { type: "float32", shape: [rows] },
      { type: "float32", shape: [rows, classes] },
    ];
  },
  lower: (emit, [logits, targets], [losses, logProbabilities], { inputs }) => {
    const rows = Number((inputs[1] as Tensor).shape[0]);
    const all = emit.node("LogSoftmax", [logits as string], { attributes: { axis: { int: -1 } }, output: logProbabilities });
    if (losses === undefined) return;
    const column = emit.node("Reshape", [targets as string, emit.integers([rows, 1])]);
    const right = emit.node("GatherElements", [all, column], { attributes: { axis: { int: 1 } } });
    emit.node("Neg", [emit.node("Reshape", [right, emit.integers([rows])])], { output: losses });
  },
  gradient: ({ inputs: [, targets], outputs: [, logProbabilities] }, [dy]) => [
    applyOne(gradientOperator, [dy as Tensor, targets as Tensor, logProbabilities as Tensor], undefined),
  ],
};

/** dlogits = (probabilities - 1 at the right class) dy. */
const gradientOperator: Operator<undefined> = {
  name: "crossEntropyGradient",
  outputs: ([, , logProbabilities]) => [{ type: "float32", shape: (logProbabilities as TensorType).shape }],
  lower: (emit, [dy, targets, logProbabilities], [output], { inputs }) => {
    const rows = Number((inputs[1] as Tensor).shape[0]);
    const column = (x: string) => emit.node("Reshape", [x, emit.integers([rows, 1])]);
    const minusOnes = emit.node("Expand", [emit.float(-1), emit.integers([rows, 1])]);
    const probabilities = emit.node("Exp", [logProbabilities as string]);
    const difference = emit.node("ScatterElements", [probabilities, column(targets as string), minusOnes], {
      attributes: { axis: { int: 1 }, reduction: { string: "add" } },
    });
    emit.node("Mul", [difference, column(dy as string)], { output });
  },
};

/** logits [rows, classes], targets [rows] of int64: losses [rows] in nats. */
export function crossEntropy(logits: Tensor, targets: Tensor): Tensor {
  return applyOne(operator, [logits, targets], undefined);
}
