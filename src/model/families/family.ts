/**
 * What the rest of the project knows about a model: its numbers (`Architecture`), the list of its tensors (`TensorSpec`) and, where
 * the engine computes it, how (`Computation`). A family of checkpoints is one file beside this one that turns a `config.json` into
 * these. Nothing outside this folder knows a tensor's name or a configuration's spelling.
 */
import type { Dtype } from "../dtype.ts";
import type { Computation, Part } from "./computation.ts";

/** The structure of one decoder with experts: all that indexing, slicing and describing it take. Sizes count elements. */
export interface Architecture<Settings = unknown> {
  /** `model_type` of the family. */
  readonly family: string;
  /** Which of the family's `forms` the tensors have. */
  readonly form: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  /** Layers that have experts, rising. */
  readonly expertLayers: readonly number[];
  /** Routed experts in each of `expertLayers`. */
  readonly experts: number;
  readonly expertsPerToken: number;
  /** The family's own reading of config.json: plain data that only its file looks into. */
  readonly settings: Settings;
  /** Absent where the engine does not know how to compute the family. */
  readonly computation?: Computation;
  /** Rows and columns of the blocks of a weight that share a scale, where the weights of linear maps are FP8 with block scales. */
  readonly fp8Block?: readonly [rows: number, columns: number];
  /** Settings of the configuration that slices do not care about but that the engine does not compute, e.g. `rope_scaling`. */
  readonly notComputed: readonly string[];
}

export interface TensorSpec {
  /** Name in the checkpoint. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly role: "backbone" | "expert";
  /** What the engine uses it for; absent where the engine does not know the tensor. */
  readonly part?: Part | undefined;
  /** Absent for tensors outside the layers. */
  readonly layer?: number | undefined;
  /** Of an expert tensor in a per-expert layout: its expert. */
  readonly expert?: number | undefined;
  /** Of an expert tensor in a fused layout: how many experts lie one after another along its leading dimension. */
  readonly fusedExperts?: number | undefined;
  /** The element type where the format fixes one, as packed 4-bit blocks have; otherwise F32, BF16 or F16, as the file says. */
  readonly dtype?: Dtype | undefined;
  /** How many of the model's parameters each element holds, where that is not one: two in packed 4-bit blocks, none in scales. */
  readonly parametersPerElement?: number | undefined;
}

/** The sizes that `model init` asks for. What else a family's configuration says, the family sets as its published models do. */
export interface NewModel {
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly intermediateSize: number;
  readonly experts: number;
  readonly expertsPerToken: number;
  /** Whether the weights of the chosen experts are scaled to sum to one, in families that leave the choice. */
  readonly normalizeTopK: boolean;
}

export interface Family {
  /** `model_type` in config.json, and others that mean the same family. */
  readonly modelType: string;
  readonly aliases: readonly string[];
  /**
   * The ways in which checkpoints of the family lay their tensors out, by name; the usual one first. A checkpoint is in the first form
   * whose tensors are all there.
   */
  readonly forms: readonly string[];
  /** Reads a parsed config.json, in the form that it suggests. Throws ConnitoError `config-invalid` that names the setting. */
  architecture(config: unknown): Architecture;
  /** Every tensor of a checkpoint of this architecture in its form, layer by layer; made as they are asked for. */
  tensors(architecture: Architecture): Iterable<TensorSpec>;
  /**
   * Prefixes of tensors that the family does not list: `carried` ones belong to the backbone as they are (a vision tower), `leftOut`
   * ones to no version (layers that predict further tokens, which nothing here trains or runs). Any other tensor is an error.
   */
  unlisted(architecture: Architecture): { readonly carried: readonly string[]; readonly leftOut: readonly string[] };
  /** A config.json for a model of these sizes; absent where the engine could not compute it. */
  newConfig?(sizes: NewModel): Record<string, unknown>;
}
