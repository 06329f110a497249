/**
 * How tokens travel to their experts and back. The (token, choice) slots of a layer are sorted by expert, so that each expert's
 * tokens are neighbouring rows. Going there (`dispatch`) and coming back (`combine`) are each other's gradients, and both only read rows
 * at known places: neither pass scatters or adds into shared rows, so the result does not depend on threads.
 */
import { apply, applyOne, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { mismatch, staticMatrix } from "../shape.ts";

export interface Routing {
  /** [slots]: the token of each sorted row. */
  readonly token: Tensor;
  /** [slots]: the slot (token * choices + choice) of each sorted row. */
  readonly slot: Tensor;
  /** [slots]: the sorted row of each slot; the inverse of `slot`. */
  readonly row: Tensor;
  /** [experts]: how many rows each expert has. */
  readonly counts: Tensor;
  readonly choices: number;
}

const sortOperator: Operator<{ readonly experts: number }> = {
  name: "sortByExpert",
  outputs: ([indices], { experts }) => {
    const [tokens, choices] = staticMatrix("sortByExpert", indices as TensorType);
    const slots = tokens * choices;
    return [[slots], [slots], [slots], [experts]].map((shape) => ({ type: "int64", shape }));
  },
  lower: (emit, [indices], [token, slot, row, counts], { inputs, attributes: { experts } }) => {
    const [tokens, choices] = staticMatrix("sortByExpert", inputs[0] as Tensor);
    const slots = tokens * choices;
    const all = emit.integers(Array.from({ length: slots }, (_, index) => index));
    const flat = emit.node("Reshape", [indices as string, emit.integers([slots])]);
    // Keys are unique, so the order is too: by expert, then by slot.
    const keys = emit.node("Add", [emit.node("Mul", [flat, emit.integers([slots])]), all]);
    const attributes = { axis: { int: 0 }, largest: { int: 0 }, sorted: { int: 1 } };
    const [, order] = emit.nodes("TopK", [keys, emit.integers([slots])], [undefined, slot], { attributes }) as [string, string];
    if (token !== undefined) emit.node("Div", [order, emit.integers([choices])], { output: token });
    if (row !== undefined) emit.node("ScatterElements", [all, order, all], { output: row, attributes: { axis: { int: 0 } } });
    if (counts !== undefined) {
      const everyExpert = emit.integers(Array.from({ length: experts }, (_, index) => index));
      const chosen = emit.node("Equal", [emit.node("Reshape", [flat, emit.integers([slots, 1])]), everyExpert]);
      const ones = emit.node("Cast", [chosen], { attributes: { to: { int: 7 } } });
      emit.node("ReduceSum", [ones, emit.integers([0])], { output: counts, attributes: { keepdims: { int: 0 } } });
    }
  },
};

/** The routing of tokens whose chosen experts are `indices` [tokens, choices]. */
export function sortByExpert(indices: Tensor, experts: number): Routing {
  const [token, slot, row, counts] = apply(sortOperator, [indices], { experts }) as [Tensor, Tensor, Tensor, Tensor];
  return { token, slot, row, counts, choices: Number(indices.shape[1]) };
}

interface Choices {
  readonly choices: number;
}

const dispatchOperator: Operator<Choices> = {
  name: "dispatch",
  outputs: ([x, token]) => [{ type: "float32", shape: [...(token as TensorType).shape, ...(x as TensorType).shape.slice(1)] }],
  lower: (emit, [x, token], [output]) => void emit.node("Gather", [x as string, token as string], { output }),
  gradient: ({ inputs: [, token, row], attributes }, [dy]) => [
    applyOne(combineOperator, [dy as Tensor, token as Tensor, row as Tensor], attributes),
  ],
};

const combineOperator: Operator<Choices> = {
  name: "combine",
  outputs: ([y], { choices }) => {
    const [slots, columns] = staticMatrix("combine", y as TensorType);
    return [{ type: "float32", shape: [slots / choices, columns] }];
  },
  lower: (emit, [y, , row], [output], { outputs, attributes: { choices } }) => {
    const [tokens, columns] = staticMatrix("combine", outputs[0] as Tensor);
    const bySlot = emit.node("Gather", [y as string, row as string]);
    const byToken = emit.node("Reshape", [bySlot, emit.integers([tokens, choices, columns])]);
    emit.node("ReduceSum", [byToken, emit.integers([1])], { output, attributes: { keepdims: { int: 0 } } });
  },
  gradient: ({ inputs: [, token, row], attributes }, [dy]) => [
    applyOne(dispatchOperator, [dy as Tensor, token as Tensor, row as Tensor], attributes),
  ],
};

/** x [tokens, n] to sorted rows [slots, n]: each token once for every expert that it chose. */
export function dispatch(x: Tensor, { token, row, choices }: Routing): Tensor {
  return applyOne(dispatchOperator, [x, token, row], { choices });
}

/** Sorted rows [slots, n] to [tokens, n]: the sum of what a token's experts gave. */
export function combine(y: Tensor, { token, row, choices }: Routing): Tensor {
  return applyOne(combineOperator, [y, token, row], { choices });
}

const permuteOperator: Operator<undefined> = {
  name: "permuteRows",
  outputs: ([x]) => [{ type: "float32", shape: (x as TensorType).shape }],
  lower: (emit, [x, order], [output]) => void emit.node("Gather", [x as string, order as string], { output }),
  gradient: ({ inputs: [, order, inverse] }, [dy]) => [
    applyOne(permuteOperator, [dy as Tensor, inverse as Tensor, order as Tensor], undefined),
  ],
};

/** One row for each slot [slots, n], brought into the sorted order. */
export function sortRows(x: Tensor, { slot, row }: Routing): Tensor {
  if (x.shape[0] !== slot.shape[0]) throw mismatch("sortRows", x.shape, slot.shape);
  return applyOne(permuteOperator, [x, slot, row], undefined);
}

interface Parts {
  /** Names of the parts' lengths. */
  readonly lengths: readonly string[];
}

const splitOperator: Operator<Parts> = {
  name: "splitRows",
  outputs: ([x, counts], { lengths }) => {
    if ((counts as TensorType).shape[0] !== lengths.length) throw mismatch("splitRows", (counts as TensorType).shape, lengths);
    return lengths.map((length) => ({ type: "float32", shape: [length, ...(x as TensorType).shape.slice(1)] }));
  },
  lower: (emit, [x, counts], outputs) =>
    void emit.nodes("Split", [x as string, counts as string], outputs, { attributes: { axis: { int: 0 } } }),
  gradient: ({ inputs: [x, counts] }, gradients) => {
    if (gradients.includes(undefined)) throw new Error("splitRows: a part does not reach the loss");
    return [applyOne(concatOperator, [counts as Tensor, ...(gradients as Tensor[])], { rows: Number((x as Tensor).shape[0]) })];
  },
};

const concatOperator: Operator<{ readonly rows: number }> = {
  name: "concatRows",
  outputs: ([, first], { rows }) => [{ type: "float32", shape: [rows, ...(first as TensorType).shape.slice(1)] }],
  lower: (emit, [, ...parts], [output]) => void emit.node("Concat", parts, { output, attributes: { axis: { int: 0 } } }),
  gradient: ({ inputs: [counts, ...parts] }, [dy]) => [
    undefined,
    ...apply(splitOperator, [dy as Tensor, counts as Tensor], { lengths: parts.map(({ shape }) => String(shape[0])) }),
  ],
};

/** The sorted rows [slots, n] of each expert: parts whose lengths are known only when the graph runs, and may be zero. */
export function splitRows(x: Tensor, { counts }: Routing): readonly Tensor[] {
  const lengths = Array.from({ length: Number(counts.shape[0]) }, (_, expert) => `${counts.name}[${expert}]`);
  return apply(splitOperator, [x, counts], { lengths });
}

/** The opposite of `splitRows`. */
export function concatRows(parts: readonly Tensor[], { counts, slot }: Routing): Tensor {
  return applyOne(concatOperator, [counts, ...parts], { rows: Number(slot.shape[0]) });
}
