/**
 * How tokens travel to their experts and back. The (token, choice) slots of a layer are sorted by expert, so that each expert's
 * tokens are neighbouring rows; a token's slots are numbered one after another. Going there (`dispatch`) and coming back (`combine`) are each
 * other's gradients, and both only read rows at known places: neither pass scatters or adds into shared rows.
 */
import { apply, applyOne, type Emitter, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { mismatch, staticMatrix } from "../shape.ts";

export interface Routing {
  readonly experts: number;
  readonly choices: number;
  readonly tokens: number;
  /** [slots]: the slot of each sorted row. */
  readonly slot: Tensor;
  /** [slots]: the token of each sorted row. */
  readonly token: Tensor;
  /** [slots]: the sorted row of each slot; the inverse of `slot`. */
  readonly row: Tensor;
  /** [choices, tokens]: the same, by choice. */
  readonly rowByChoice: Tensor;
  /** [experts]: how many rows each expert has. */
  readonly counts: Tensor;
}

const sortOperator: Operator<{ readonly experts: number }> = {
  name: "sortByExpert",
  outputs: ([indices], { experts }) => {
    const [tokens, choices] = staticMatrix("sortByExpert", indices as TensorType);
    const slots = tokens * choices;
    return [[slots], [slots], [slots], [choices, tokens], [experts]].map((shape) => ({ type: "int64", shape }));
  },
  lower: (emit, [indices], [slot, token, row, rowByChoice, counts], { inputs, attributes: { experts } }) => {
    const [tokens, choices] = staticMatrix("sortByExpert", inputs[0] as Tensor);
    const slots = tokens * choices;
    const all = range(emit, slots);
    const flat = emit.node("Reshape", [indices as string, emit.integers([slots])]);
    // Keys are unique, so the order is too: by expert, then by slot.
    const keys = emit.node("Add", [emit.node("Mul", [flat, emit.integers([slots])]), all]);
    const attributes = { axis: { int: 0 }, largest: { int: 0 }, sorted: { int: 1 } };
    const [, order] = emit.nodes("TopK", [keys, emit.integers([slots])], [undefined, slot], { attributes }) as [string, string];
    if (token !== undefined) emit.node("Div", [order, emit.integers([choices])], { output: token });
    const inverse = emit.node("ScatterElements", [all, order, all], { output: row, attributes: { axis: { int: 0 } } });
    if (rowByChoice !== undefined) {
      const byToken = emit.node("Reshape", [inverse, emit.integers([tokens, choices])]);
      emit.node("Transpose", [byToken], { output: rowByChoice, attributes: { perm: { ints: [1, 0] } } });
    }
    if (counts !== undefined) {
      const none = emit.table(`zeros ${experts}`, () => ({ type: "int64", shape: [experts], data: new BigInt64Array(experts) }));
      const ones = emit.node("Expand", [emit.integers([1]), emit.integers([slots])]);
      emit.node("ScatterElements", [none, flat, ones], { output: counts, attributes: { axis: { int: 0 }, reduction: { string: "add" } } });
    }
  },
};

function range(emit: Emitter, count: number): string {
  return emit.table(`range ${count}`, () => ({
    type: "int64",
    shape: [count],
    data: BigInt64Array.from({ length: count }, (_, index) => BigInt(index)),
  }));
}

/** The routing of tokens whose chosen experts are `indices` [tokens, choices]. */
export function sortByExpert(indices: Tensor, experts: number): Routing {
  const [tokens, choices] = staticMatrix("sortByExpert", indices);
  const [slot, token, row, rowByChoice, counts] = apply(sortOperator, [indices], { experts }) as [Tensor, Tensor, Tensor, Tensor, Tensor];
  return { experts, choices, tokens, slot, token, row, rowByChoice, counts };
}

/** Each expert's rows: a part for each, whose length is known only when the graph runs, and may be zero. */
function partsOf({ experts, counts }: Routing, x: TensorType): TensorType[] {
  const columns = x.shape.at(-1) as number;
  return Array.from({ length: experts }, (_, expert) => ({ type: "float32", shape: [`${counts.name}[${expert}]`, columns] }));
}

function allParts(name: string, gradients: readonly (Tensor | undefined)[]): Tensor[] {
  if (gradients.includes(undefined)) throw new Error(`${name}: a part does not reach the loss`);
  return gradients as Tensor[];
}

/** Splits sorted row numbers into those of each expert. */
function splitByExpert(emit: Emitter, rows: string, counts: string, experts: number): string[] {
  return emit.nodes("Split", [rows, counts], Array<undefined>(experts).fill(undefined), { attributes: { axis: { int: 0 } } });
}

const dispatchOperator: Operator<Routing> = {
  name: "dispatch",
  outputs: ([x], routing) => {
    const [tokens] = staticMatrix("dispatch", x as TensorType);
    if (tokens !== routing.tokens) throw mismatch("dispatch", (x as TensorType).shape, [routing.tokens]);
    return partsOf(routing, x as TensorType);
  },
  lower: (emit, [x, token, counts], outputs) => {
    for (const [expert, rows] of splitByExpert(emit, token as string, counts as string, outputs.length).entries()) {
      const output = outputs[expert];
      if (output !== undefined) emit.node("Gather", [x as string, rows], { output });
    }
  },
  gradient: ({ attributes: routing }, gradients) => [combine(allParts("dispatch", gradients), routing)],
};

const combineOperator: Operator<Routing> = {
  name: "combine",
  outputs: ([, part], { tokens }) => [{ type: "float32", shape: [tokens, (part as TensorType).shape.at(-1) as number] }],
  lower: (emit, [rowByChoice, ...parts], [output], { outputs, attributes: { choices } }) => {
    const sorted = emit.node("Concat", parts, { attributes: { axis: { int: 0 } } });
    const split = { axis: { int: 0 }, num_outputs: { int: choices } };
    const rows = emit.nodes("Split", [rowByChoice as string], Array<undefined>(choices).fill(undefined), { attributes: split });
    const chosen = rows.map((one) => emit.node("Gather", [sorted, one]));
    const summed = chosen.length === 1 ? (chosen[0] as string) : emit.node("Sum", chosen);
    emit.node("Reshape", [summed, emit.integers(staticMatrix("combine", outputs[0] as Tensor))], { output });
  },
  gradient: ({ attributes: routing }, [dy]) => [undefined, ...dispatch(dy as Tensor, routing)],
};

/** x [tokens, n] to the rows of each expert: a token goes to every expert that it chose. */
export function dispatch(x: Tensor, routing: Routing): readonly Tensor[] {
  return apply(dispatchOperator, [x, routing.token, routing.counts], routing);
}

/** The rows of each expert to [tokens, n]: the sum of what a token's experts gave. */
export function combine(parts: readonly Tensor[], routing: Routing): Tensor {
  return applyOne(combineOperator, [routing.rowByChoice, ...parts], routing);
}

const dispatchSlotsOperator: Operator<Routing> = {
  name: "dispatchSlots",
  outputs: (_inputs, routing) => partsOf(routing, { type: "float32", shape: [1] }),
  lower: (emit, [x, slot, counts], outputs, { attributes: { tokens, choices } }) => {
    const column = emit.node("Reshape", [x as string, emit.integers([tokens * choices, 1])]);
    const sorted = emit.node("Gather", [column, slot as string]);
    emit.nodes("Split", [sorted, counts as string], outputs, { attributes: { axis: { int: 0 } } });
  },
  gradient: ({ attributes: routing }, gradients) => [
    applyOne(collectSlotsOperator, [routing.row, ...allParts("dispatchSlots", gradients)], routing),
  ],
};

const collectSlotsOperator: Operator<Routing> = {
  name: "collectSlots",
  outputs: (_inputs, { tokens, choices }) => [{ type: "float32", shape: [tokens, choices] }],
  lower: (emit, [row, ...parts], [output], { attributes: { tokens, choices } }) => {
    const bySlot = emit.node("Gather", [emit.node("Concat", parts, { attributes: { axis: { int: 0 } } }), row as string]);
    emit.node("Reshape", [bySlot, emit.integers([tokens, choices])], { output });
  },
};

/** One number for each slot, x [tokens, choices], to a column for each expert beside its rows. */
export function dispatchSlots(x: Tensor, routing: Routing): readonly Tensor[] {
  if (x.shape[0] !== routing.tokens || x.shape[1] !== routing.choices)
    throw mismatch("dispatchSlots", x.shape, [routing.tokens, routing.choices]);
  return apply(dispatchSlotsOperator, [x, routing.slot, routing.counts], routing);
}
