/** What narrows a router's choice of experts before the largest are taken. The narrowing itself has no gradient. */
import { apply, applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { staticMatrix } from "../shape.ts";

/** Far below any score, and finite: never chosen, and its exponential is 0. */
const excluded = -1e30;

export interface ExpertGroups {
  /** Divides the experts of a layer into neighbours. */
  readonly groups: number;
  /** Groups that a token may choose from. */
  readonly kept: number;
  /** How a group is ranked: by its largest score, or the sum of its two largest. */
  readonly by: "largest" | "two-largest";
}

const groupOperator: Operator<ExpertGroups> = {
  name: "limitToGroups",
  outputs: ([scores], { groups, kept, by }) => {
    const [rows, experts] = staticMatrix("limitToGroups", scores as TensorType);
    if (experts % groups !== 0 || kept > groups || (by === "two-largest" && experts / groups < 2)) {
      throw new Error(`limitToGroups: ${kept} of ${groups} groups of ${experts} experts, by ${by}`);
    }
    return [{ type: "float32", shape: [rows, experts] }];
  },
  lower: (emit, [scores], [output], { inputs, attributes: { groups, kept, by } }) => {
    const [rows, experts] = staticMatrix("limitToGroups", inputs[0] as Tensor);
    const whole = emit.integers([rows, experts]);
    const byGroup = emit.node("Reshape", [scores as string, emit.integers([rows, groups, experts / groups])]);
    const [best] = emit.nodes("TopK", [byGroup, emit.integers([by === "largest" ? 1 : 2])], [undefined, undefined]) as [string];
    const ranks = emit.node("ReduceSum", [best, emit.integers([-1])], { attributes: { keepdims: { int: 0 } } });
    const [, chosen] = emit.nodes("TopK", [ranks, emit.integers([kept])], [undefined, undefined]) as [string, string];
    const none = emit.node("Expand", [emit.float(excluded), emit.integers([rows, groups])]);
    const zeros = emit.node("Expand", [emit.float(0), emit.integers([rows, kept])]);
    const open = emit.node("ScatterElements", [none, chosen, zeros], { attributes: { axis: { int: 1 } } });
    const added = emit.node("Add", [byGroup, emit.node("Reshape", [open, emit.integers([rows, groups, 1])])]);
    emit.node("Reshape", [added, whole], { output });
  },
};

/** scores [rows, experts], those outside each row's best groups far below all others; among equal groups the lower index is kept. */
export function limitToGroups(scores: Tensor, groups: ExpertGroups): Tensor {
  return applyOne(groupOperator, [scores], groups);
}

const pickOperator: Operator<{ readonly tolerance: number }> = {
  name: "sparseMixerPick",
  outputs: ([scores]) => {
    const [rows, experts] = staticMatrix("sparseMixerPick", scores as TensorType);
    return [
      { type: "int64", shape: [rows, 1] },
      { type: "float32", shape: [rows, experts] },
    ];
  },
  lower: (emit, [scores, before], [index, mask], { attributes: { tolerance } }) => {
    const along = { attributes: { axis: { int: 1 } } };
    const hide = (values: string, output?: string) => {
      if (before === undefined) return output === undefined ? values : emit.node("Identity", [values], { output });
      const shape = emit.node("Shape", [before]);
      return emit.node("ScatterElements", [values, before, emit.node("Expand", [emit.float(excluded), shape])], { ...along, output });
    };
    const [best] = emit.nodes("TopK", [hide(scores as string), emit.integers([1])], [undefined, index]) as [string];
    if (mask === undefined) return;
    const size = emit.node("Max", [emit.node("Abs", [scores as string]), best]);
    const distance = emit.node("Div", [emit.node("Sub", [best, scores as string]), size]);
    const far = emit.node("Greater", [distance, emit.float(tolerance)]);
    hide(emit.node("Where", [far, emit.float(excluded), emit.float(0)]), mask);
  },
  gradient: ({ inputs }) => inputs.map(() => undefined),
};

/**
 * One pick of SparseMixer (arXiv 2409.12136) as it is done without noise: the largest score, and a mask [rows, experts] that, added to the scores, leaves
 * those in its reach: at most `tolerance` below it, relative to the larger of the two sizes. `before` [rows, 1] are picks that are hidden.
 */
export function sparseMixerPick(scores: Tensor, tolerance: number, before?: Tensor): { index: Tensor; mask: Tensor } {
  const [index, mask] = apply(pickOperator, before === undefined ? [scores] : [scores, before], { tolerance }) as [Tensor, Tensor];
  return { index, mask };
}
