/** A decoder's weights as inputs of a graph, found by what they are for, and the norms that are made of them. */
import { type Architecture, listWeights, type Norm, type Part, type TensorSpec } from "../../model/families/index.ts";
import { type Graph, input, type Tensor } from "../graph/graph.ts";
import { layerNorm, rmsNorm } from "../graph/operators/normalization.ts";

export interface Weights {
  /** Every weight by its piece's name. */
  readonly byName: ReadonlyMap<string, Tensor>;
  /** One weight by its part, and its layer and expert where it has them; undefined where the architecture has no such weight. */
  find(part: Part, layer?: number, expert?: number): Tensor | undefined;
  /** As `find`. Throws an Error where there is none. */
  of(part: Part, layer?: number, expert?: number): Tensor;
}

/** Inputs for all weights of an architecture, or for some of them, under their own or other names. */
export function declareWeights(
  graph: Graph,
  architecture: Architecture,
  specs: readonly TensorSpec[] = listWeights(architecture),
  inputName: (spec: TensorSpec) => string = ({ name }) => name,
): Weights {
  const byName = new Map<string, Tensor>();
  const byPart = new Map<string, Tensor>();
  for (const spec of specs) {
    const tensor = input(graph, inputName(spec), "float32", spec.shape);
    byName.set(spec.name, tensor);
    if (spec.part !== undefined) byPart.set(`${spec.part} ${spec.layer} ${spec.expert}`, tensor);
  }
  const find: Weights["find"] = (part, layer, expert) => byPart.get(`${part} ${layer} ${expert}`);
  return {
    byName,
    find,
    of: (part, layer, expert) => {
      const tensor = find(part, layer, expert);
      if (tensor === undefined) throw new Error(`${architecture.family} has no ${part} in layer ${layer}, expert ${expert}`);
      return tensor;
    },
  };
}

/** x [rows, hidden] normed as the model norms, by the weight `part` and its bias. */
export function normed(
  x: Tensor,
  weights: Weights,
  { kind, epsilon }: Norm,
  part: "attention.norm" | "feedForward.norm" | "finalNorm",
  layer?: number,
): Tensor {
  if (kind === "root-mean-square") return rmsNorm(x, weights.of(part, layer), epsilon);
  return layerNorm(x, weights.of(part, layer), weights.of(`${part}Bias`, layer), epsilon);
}
