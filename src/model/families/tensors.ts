/**
 * How the families write their lists of tensors: rows of name, shape and part, put under a layer's prefix. What many families share
 * (projections of grouped-query attention, gated networks, routed experts in both layouts) stands here once; a family's file says
 * which of it a layer has.
 */
import type { Dtype } from "../dtype.ts";
import type { Part } from "./computation.ts";
import type { TensorSpec } from "./family.ts";

/** A tensor before it is known which layer it belongs to. */
export interface Row {
  /** Relative to the layer. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly part?: Part;
  readonly expert?: number;
  readonly fusedExperts?: number;
  readonly dtype?: Dtype;
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

/** Tensors outside the layers. */
export function outside(rows: readonly Row[]): TensorSpec[] {
  return rows.map((one) => ({ ...one, role: "backbone" }));
}

/** The tensors of `count` layers, whose names begin with `PREFIX.LAYER.`; those of experts are the rows that name an expert or fuse some. */
export function inLayers(prefix: string, count: number, rowsOf: (layer: number) => readonly Row[]): TensorSpec[] {
  return Array.from({ length: count }, (_, layer) => layer).flatMap((layer) =>
    rowsOf(layer).map((one): TensorSpec => {
      const ofExpert = one.expert !== undefined || one.fusedExperts !== undefined;
      return { ...one, name: `${prefix}.${layer}.${one.name}`, role: ofExpert ? "expert" : "backbone", layer };
    }),
  );
}

export interface AttentionSizes {
  readonly hidden: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDimension: number;
}

/** `self_attn` with a projection each for queries, keys, values and the output. */
export function projections({ hidden, heads, keyValueHeads, headDimension }: AttentionSizes): Row[] {
  return [
    linear("self_attn.q_proj", [heads * headDimension, hidden], "attention.query"),
    linear("self_attn.k_proj", [keyValueHeads * headDimension, hidden], "attention.key"),
    linear("self_attn.v_proj", [keyValueHeads * headDimension, hidden], "attention.value"),
    linear("self_attn.o_proj", [hidden, heads * headDimension], "attention.output"),
  ];
}

/** A gated network in a layer without experts. */
export function denseNetwork(module: string, hidden: number, inner: number): Row[] {
  return [
    linear(`${module}.gate_proj`, [inner, hidden], "dense.gate"),
    linear(`${module}.up_proj`, [inner, hidden], "dense.up"),
    linear(`${module}.down_proj`, [hidden, inner], "dense.down"),
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
