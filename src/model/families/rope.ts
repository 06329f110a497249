/**
 * From what a configuration says of rotary positions to their frequencies, for the kinds that published checkpoints use. The formulas are those of
 * transformers' modeling_rope_utils, which rounds to fp32 at each step; so does this, where a step's rounding would show at far positions.
 */
import * as v from "valibot";
import type { Rope } from "./computation.ts";
import { positive } from "./config.ts";

const factors = v.pipe(v.array(positive), v.maxLength(2 ** 15));

const scaling = {
  rope_type: v.optional(v.string()),
  /** As older writers call it. */
  type: v.optional(v.string()),
  rope_theta: v.optional(positive),
  factor: v.nullish(positive),
  partial_rotary_factor: v.optional(positive),
  original_max_position_embeddings: v.optional(positive),
  attention_factor: v.nullish(positive),
  beta_fast: v.nullish(positive),
  beta_slow: v.nullish(positive),
  truncate: v.optional(v.boolean()),
  mscale: v.nullish(v.number()),
  mscale_all_dim: v.nullish(v.number()),
  low_freq_factor: v.optional(positive),
  high_freq_factor: v.optional(positive),
  short_factor: v.optional(factors),
  short_mscale: v.optional(positive),
};

/** The settings to read. Recent writers put everything into `rope_parameters`, older ones beside it and into `rope_scaling`. */
export const rope = {
  rope_theta: v.optional(positive),
  rope_parameters: v.nullish(v.looseObject(scaling)),
  rope_scaling: v.nullish(v.looseObject(scaling)),
  max_position_embeddings: v.optional(positive),
  original_max_position_embeddings: v.optional(positive),
};
const settings = v.object(rope);
export type RopeSettings = v.InferOutput<typeof settings>;
type Scaling = NonNullable<RopeSettings["rope_scaling"]>;

export interface ReadRope {
  readonly rope: Rope;
  /** What of it the engine does not compute. */
  readonly notComputed: readonly string[];
  /** What a family that counts on it makes of YaRN's `mscale_all_dim`: a factor on attention's products, squared already. */
  readonly productScale: number;
}

export interface RopeOptions {
  /** The family's base, where the configuration names none. */
  readonly theta: number;
  /** Columns of a head that are turned: an even number. */
  readonly width: number;
  readonly interleaved?: boolean;
}

/** The rotation that a configuration describes. */
export function readRope(read: RopeSettings, { theta, width: turned, interleaved = false }: RopeOptions): ReadRope {
  const given = { ...read.rope_scaling, ...read.rope_parameters };
  const base = given.rope_theta ?? read.rope_theta ?? theta;
  const kind = given.rope_type ?? given.type ?? "default";
  const original = given.original_max_position_embeddings ?? read.original_max_position_embeddings ?? read.max_position_embeddings;
  const compute = kinds[kind];
  const result = compute?.({ plain: plainFrequencies(base, turned), base, turned, given, original, most: read.max_position_embeddings });
  if (result === undefined) {
    const rope = { frequencies: plainFrequencies(base, turned), scale: 1, interleaved };
    return { rope, notComputed: [`rope_scaling of type ${kind.slice(0, 32)}`], productScale: 1 };
  }
  const stretch = kind === "default" || !given.mscale_all_dim ? 1 : magnitude(given.factor ?? 1, given.mscale_all_dim);
  return { rope: { scale: 1, interleaved, ...result }, notComputed: [], productScale: stretch ** 2 };
}

interface Input {
  readonly plain: readonly number[];
  readonly base: number;
  readonly turned: number;
  readonly given: Scaling;
  readonly original: number | undefined;
  readonly most: number | undefined;
}

type Kind = (input: Input) => (Pick<Rope, "frequencies"> & Partial<Rope>) | undefined;

/** By `rope_type`. Each gives nothing where a number that it needs is missing. */
const kinds: Readonly<Record<string, Kind | undefined>> = {
  __proto__: null as unknown as undefined,
  default: ({ plain }) => ({ frequencies: plain }),
  linear: ({ plain, given: { factor } }) => (factor ? { frequencies: plain.map((one) => one / factor) } : undefined),
  // Stretches only what is longer than the model was made for.
  dynamic: ({ plain, most }) => (most === undefined ? undefined : { frequencies: plain, mostPositions: most }),
  yarn,
  llama3,
  longrope: ({ plain, given, original }) => {
    const { short_factor: factors, short_mscale: scale } = given;
    if (factors?.length !== plain.length || scale === undefined || original === undefined) return undefined;
    return { frequencies: plain.map((one, index) => one / (factors[index] as number)), scale, mostPositions: original };
  },
};

/** theta^(-2 i / width) */
function plainFrequencies(theta: number, width: number): number[] {
  return Array.from({ length: width / 2 }, (_, index) => Math.fround(1 / Math.fround(theta ** Math.fround((2 * index) / width))));
}

const magnitude = (factor: number, weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);

/** YaRN (arXiv 2309.00071): high frequencies stay, low ones are divided by the factor, and a ramp lies between. */
function yarn({ plain, base, turned, given, original, most }: Input): ReturnType<Kind> {
  if (original === undefined) return undefined;
  const factor = given.factor ?? (most === undefined ? undefined : most / original);
  if (factor === undefined) return undefined;
  const { mscale, mscale_all_dim: allDimensions } = given;
  const inferred = mscale && allDimensions ? magnitude(factor, mscale) / magnitude(factor, allDimensions) : magnitude(factor, 1);
  const dimensionOf = (rotations: number) => (turned * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
  const [low, high] = [dimensionOf(given.beta_fast ?? 32), dimensionOf(given.beta_slow ?? 1)];
  const truncate = given.truncate ?? true;
  const first = Math.max(truncate ? Math.floor(low) : low, 0);
  const last = Math.min(truncate ? Math.ceil(high) : high, turned - 1);
  const span = last === first ? 0.001 : last - first;
  const frequencies = plain.map((one, index) => {
    const ramp = Math.min(Math.max((index - first) / span, 0), 1);
    return (one / factor) * ramp + one * (1 - ramp);
  });
  return { frequencies, scale: given.attention_factor ?? inferred };
}

/** Llama 3.1: long waves are divided by the factor, short ones stay, and those between are blended. */
function llama3({ plain, given, original }: Input): ReturnType<Kind> {
  const { factor, low_freq_factor: low, high_freq_factor: high } = given;
  if (!factor || low === undefined || high === undefined || original === undefined) return undefined;
  const frequencies = plain.map((one) => {
    const wave = (2 * Math.PI) / one;
    if (wave < original / high || wave === original / low) return one;
    if (wave > original / low) return one / factor;
    const smooth = (original / wave - low) / (high - low);
    return ((1 - smooth) * one) / factor + smooth * one;
  });
  return { frequencies };
}
