/**
 * How the families write their lists of tensors: rows of name, shape and part, put under a layer's prefix. What many families share
 * (projections of grouped-query attention, gated networks, routed experts in both layouts) stands here once; a family's file says
 * which of it a layer has.
 */
import type { Dtype } from "../dtype.ts";
import type { Part } from "./computation.ts";
import type { Architecture, TensorSpec } from "./family.ts";

/** A tensor before it is known which layer it belongs to. */
export interface Row {
  /** Relative to the layer. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly part?: Part;
  readonly expert?: number;
  readonly fusedExperts?: number;
  readonly dtype?: Dtype;
  readonly parametersPerElement?: number;
}

export function row(name: string, shape: readonly number[], part?: Part): Row {
  return { name, shape, ...(part && { part }) };
}

/** `NAME.weight` [out, in]. */
export function linear(name: string, [out, width]: readonly [out: number, width: number], part?: Part): Row {
  return row(`${name}.weight`, [out, width], part);
}

/** `NAME.weight` [width]. */
export function norm(name: string, width: number, part?: Part): Row {
  return row(`${name}.weight`, [width], part);
}

/** `NAME.bias` of a linear map or a norm. */
export function bias(name: string, width: number, part?: Part): Row {
  return row(`${name}.bias`, [width], part);
}

/** Tensors outside the layers. */
export function* outside(rows: readonly Row[]): Generator<TensorSpec> {
  for (const one of rows) yield { ...one, role: "backbone" };
}

/** The tensors of `count` layers, whose names begin with `PREFIX.LAYER.`; those of experts are the rows that name an expert or fuse some. */
export function* inLayers(prefix: string, count: number, rowsOf: (layer: number) => readonly Row[]): Generator<TensorSpec> {
  for (let layer = 0; layer < count; layer++) {
    for (const { name, shape, part, expert, fusedExperts, dtype, parametersPerElement } of rowsOf(layer)) {
      const role = expert !== undefined || fusedExperts !== undefined ? "expert" : "backbone";
      // All fields in one literal, and a joined name: of a hundred thousand such objects, others take twice the memory.
      yield { name: [prefix, layer, name].join("."), shape, role, layer, part, expert, fusedExperts, dtype, parametersPerElement };
    }
  }
}

export interface DecoderRows {
  /** What all names begin with: nothing, or `language_model.`. */
  readonly under?: string;
  readonly layer: (layer: number) => readonly Row[];
  /** `model.norm` without a bias where left out. */
  readonly finalNorm?: readonly Row[];
  /** Whether the head is the embedding. */
  readonly tied: boolean;
  /** Rows of a head that is not: `lm_head` without a bias where left out. */
  readonly head?: readonly Row[];
}

/** A whole decoder as the families after LLaMA name it: embedding, layers, final norm, head. */
export function* decoderTensors(
  { vocabularySize, hiddenSize, layers }: Architecture,
  { under = "", layer, finalNorm = [norm("model.norm", hiddenSize, "finalNorm")], tied, head }: DecoderRows,
): Generator<TensorSpec> {
  const prefixed = (rows: readonly Row[]) => outside(rows.map((one) => ({ ...one, name: `${under}${one.name}` })));
  yield* prefixed([row("model.embed_tokens.weight", [vocabularySize, hiddenSize], "embedding")]);
  yield* inLayers(`${under}model.layers`, layers, layer);
  yield* prefixed(finalNorm);
  yield* prefixed(tied ? [] : (head ?? [linear("lm_head", [vocabularySize, hiddenSize], "head")]));
}

export interface AttentionSizes {
  readonly hidden: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDimension: number;
  /** Which of the projections have biases; none where left out. */
  readonly biases?: "all" | "all-but-output" | "none";
}

/** `self_attn` with a projection each for queries, keys, values and the output. */
export function projections({ hidden, heads, keyValueHeads, headDimension, biases = "none" }: AttentionSizes): Row[] {
  const [width, keyWidth] = [heads * headDimension, keyValueHeads * headDimension];
  return [
    linear("self_attn.q_proj", [width, hidden], "attention.query"),
    linear("self_attn.k_proj", [keyWidth, hidden], "attention.key"),
    linear("self_attn.v_proj", [keyWidth, hidden], "attention.value"),
    linear("self_attn.o_proj", [hidden, width], "attention.output"),
    ...(biases === "none"
      ? []
      : [
          bias("self_attn.q_proj", width, "attention.queryBias"),
          bias("self_attn.k_proj", keyWidth, "attention.keyBias"),
          bias("self_attn.v_proj", keyWidth, "attention.valueBias"),
        ]),
    ...(biases === "all" ? [bias("self_attn.o_proj", hidden, "attention.outputBias")] : []),
  ];
}

/** A gated network in a layer without experts. */
export function denseNetwork(module: string, hidden: number, inner: number): Row[] {
  return network("dense", module, hidden, inner);
}

/** The network beside the routed experts that every token passes. */
export function sharedNetwork(module: string, hidden: number, inner: number): Row[] {
  return network("shared", module, hidden, inner);
}

function network(kind: "dense" | "shared", module: string, hidden: number, inner: number): Row[] {
  return [
    linear(`${module}.gate_proj`, [inner, hidden], `${kind}.gate`),
    linear(`${module}.up_proj`, [inner, hidden], `${kind}.up`),
    linear(`${module}.down_proj`, [hidden, inner], `${kind}.down`),
  ];
}

export interface ExpertSizes {
  readonly experts: number;
  readonly hidden: number;
  readonly inner: number;
}

/** `MODULE.EXPERT.{gate,up,down}_proj.weight` under the names that the family gives the three. */
export function separateExperts(
  module: string,
  { experts, hidden, inner }: ExpertSizes,
  names = ["gate_proj", "up_proj", "down_proj"],
): Row[] {
  const [gate, up, down] = names;
  return Array.from({ length: experts }, (_, expert) => [
    { ...linear(`${module}.${expert}.${gate}`, [inner, hidden], "expert.gate"), expert },
    { ...linear(`${module}.${expert}.${up}`, [inner, hidden], "expert.up"), expert },
    { ...linear(`${module}.${expert}.${down}`, [hidden, inner], "expert.down"), expert },
  ]).flat();
}

/** `MODULE.gate_up_proj` [experts, 2 * inner, hidden], the gate's rows first, and `MODULE.down_proj` [experts, hidden, inner]. */
export function fusedExperts(module: string, { experts, hidden, inner }: ExpertSizes): Row[] {
  return [
    { ...row(`${module}.gate_up_proj`, [experts, 2 * inner, hidden], "expert.gateUp"), fusedExperts: experts },
    { ...row(`${module}.down_proj`, [experts, hidden, inner], "expert.down"), fusedExperts: experts },
  ];
}
