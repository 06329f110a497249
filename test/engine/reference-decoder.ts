/**
 * The decoder's forward pass of Qwen3-MoE and OLMoE once more, written from their definitions in float64 with plain loops and nothing of the engine's: what
 * the engine is compared with, and what finite differences are taken of.
 */
import { type Architecture, type Computation, requireComputable } from "../../src/model/families/index.ts";

type Vector = Float64Array;
type Weight = (name: string) => Float64Array;
/** Is told each token's chosen experts and their weights. */
export type Observer = (layer: number, chosen: readonly number[], gates: readonly number[]) => void;

const matrixVector = (matrix: Vector, x: Vector): Vector => {
  const rows = matrix.length / x.length;
  const y = new Float64Array(rows);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < x.length; column++) y[row]! += matrix[row * x.length + column]! * x[column]!;
  return y;
};

const norm = (x: Vector, weight: Vector, epsilon: number): Vector => {
  const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / x.length;
  return x.map((value, index) => (value / Math.sqrt(meanSquare + epsilon)) * weight[index]!);
};

const softmax = (x: readonly number[]): number[] => {
  const highest = Math.max(...x);
  const powers = x.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
};

const added = (x: Vector, y: Vector): Vector => x.map((value, index) => value + y[index]!);

function grouped({ attention }: Computation) {
  if (attention.kind !== "grouped-query") throw new Error("this reference knows grouped-query attention only");
  return attention;
}

/** Splits a vector in heads, norms and turns each as the architecture says. */
function prepare(x: Vector, position: number, weight: Vector | undefined, computation: Computation): Vector {
  const { epsilon } = computation.norm;
  const { headDimension: d, queryKeyNorm } = grouped(computation);
  const whole = queryKeyNorm === "full" ? norm(x, weight!, epsilon) : x;
  const result = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += d) {
    const part = whole.slice(start, start + d);
    const head = queryKeyNorm === "head" ? norm(part, weight!, epsilon) : part;
    for (let index = 0; index < d / 2; index++) {
      const angle = position * computation.rope.frequencies[index]!;
      const [a, b] = [head[index]!, head[index + d / 2]!];
      result[start + index] = a * Math.cos(angle) - b * Math.sin(angle);
      result[start + index + d / 2] = b * Math.cos(angle) + a * Math.sin(angle);
    }
  }
  return result;
}

function attention(normed: Vector[], layer: number, weight: Weight, computation: Computation): Vector[] {
  const { heads, keyValueHeads, headDimension: d, queryKeyNorm } = grouped(computation);
  const of = (name: string) => weight(`model.layers.${layer}.self_attn.${name}.weight`);
  const normOf = (name: string) => (queryKeyNorm === "none" ? undefined : of(name));
  const query = normed.map((x, position) => prepare(matrixVector(of("q_proj"), x), position, normOf("q_norm"), computation));
  const key = normed.map((x, position) => prepare(matrixVector(of("k_proj"), x), position, normOf("k_norm"), computation));
  const value = normed.map((x) => matrixVector(of("v_proj"), x));
  return normed.map((_, position) => {
    const attended = new Float64Array(heads * d);
    for (let head = 0; head < heads; head++) {
      const shared = Math.floor((head * keyValueHeads) / heads);
      const scores = key.slice(0, position + 1).map((one) => {
        let dot = 0;
        for (let index = 0; index < d; index++) dot += query[position]![head * d + index]! * one[shared * d + index]!;
        return dot / Math.sqrt(d);
      });
      for (const [other, probability] of softmax(scores).entries()) {
        for (let index = 0; index < d; index++) attended[head * d + index]! += probability * value[other]![shared * d + index]!;
      }
    }
    return matrixVector(of("o_proj"), attended);
  });
}

function network(x: Vector, prefix: string, weight: Weight): Vector {
  const gate = matrixVector(weight(`${prefix}.gate_proj.weight`), x);
  const up = matrixVector(weight(`${prefix}.up_proj.weight`), x);
  return matrixVector(
    weight(`${prefix}.down_proj.weight`),
    gate.map((value, index) => (value / (1 + Math.exp(-value))) * up[index]!),
  );
}

function feedForward(x: Vector, layer: number, weight: Weight, architecture: Architecture, observe?: Observer): Vector {
  const prefix = `model.layers.${layer}.mlp`;
  if (!architecture.expertLayers.includes(layer)) return network(x, prefix, weight);
  const probabilities = softmax([...matrixVector(weight(`${prefix}.gate.weight`), x)]);
  const chosen = [...probabilities.keys()].sort((a, b) => probabilities[b]! - probabilities[a]!).slice(0, architecture.expertsPerToken);
  const { router } = requireComputable(architecture);
  const renormalized = router.kind === "top-k" && router.normalizeTopK;
  const sum = renormalized ? chosen.reduce((total, expert) => total + probabilities[expert]!, 0) : 1;
  const gates = chosen.map((expert) => probabilities[expert]! / sum);
  observe?.(layer, chosen, gates);
  return chosen.reduce((total, expert, choice) => {
    const result = network(x, `${prefix}.experts.${expert}`, weight);
    return total.map((value, index) => value + gates[choice]! * result[index]!);
  }, new Float64Array(x.length));
}

/** Cross-entropy of each token of one sequence given those before it, in nats. */
export function referenceLosses(
  architecture: Architecture,
  weights: ReadonlyMap<string, Float64Array>,
  sequence: Int32Array,
  observe?: Observer,
): number[] {
  const weight: Weight = (name) => weights.get(name)!;
  const { hiddenSize } = architecture;
  const computation = requireComputable(architecture);
  const { epsilon: normEpsilon } = computation.norm;
  const embedding = weight("model.embed_tokens.weight");
  let rows: Vector[] = Array.from(sequence.subarray(0, -1), (token) => embedding.slice(token * hiddenSize, (token + 1) * hiddenSize));
  for (let layer = 0; layer < architecture.layers; layer++) {
    const of = (name: string) => weight(`model.layers.${layer}.${name}.weight`);
    const attended = attention(
      rows.map((x) => norm(x, of("input_layernorm"), normEpsilon)),
      layer,
      weight,
      computation,
    );
    rows = rows.map((x, index) => added(x, attended[index]!));
    rows = rows.map((x) =>
      added(x, feedForward(norm(x, of("post_attention_layernorm"), normEpsilon), layer, weight, architecture, observe)),
    );
  }
  const head = computation.tieEmbeddings ? embedding : weight("lm_head.weight");
  return rows.map((x, position) => {
    const logits = [...matrixVector(head, norm(x, weight("model.norm.weight"), normEpsilon))];
    return -Math.log(softmax(logits)[sequence[position + 1]!]!);
  });
}

/** The mean loss over all tokens of several sequences. */
export function referenceLoss(
  architecture: Architecture,
  weights: ReadonlyMap<string, Float64Array>,
  sequences: readonly Int32Array[],
): number {
  const losses = sequences.flatMap((sequence) => referenceLosses(architecture, weights, sequence));
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}
