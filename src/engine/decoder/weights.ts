/** A decoder's weights as inputs of a graph, found by what they are for. */
import { type Architecture, listWeights, type Part, type TensorSpec } from "../../model/families/index.ts";
import { type Graph, input, type Tensor } from "../graph/graph.ts";

export interface Weights {
  /** Every weight by its piece's name. */
  readonly byName: ReadonlyMap<string, Tensor>;
  /** One weight by its part, and its layer and expert where it has them. Throws an Error where the architecture has no such weight. */
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
    byPart.set(`${spec.part} ${spec.layer} ${spec.expert}`, tensor);
  }
  return {
    byName,
    of: (part, layer, expert) => {
      const tensor = byPart.get(`${part} ${layer} ${expert}`);
      if (tensor === undefined) throw new Error(`${architecture.family} has no ${part} in layer ${layer}, expert ${expert}`);
      return tensor;
    },
  };
}
