/** A decoder's weights as inputs of a graph, found by what they are for. */
import { type Architecture, listWeights, type Part } from "../../model/families/index.ts";
import { type Graph, input, type Tensor } from "../graph/graph.ts";

export interface Weights {
  /** Every weight by its piece's name, which is also the name of its input. */
  readonly byName: ReadonlyMap<string, Tensor>;
  /** One weight by its part, and its layer and expert where it has them. Throws an Error where the architecture has no such weight. */
  of(part: Part, layer?: number, expert?: number): Tensor;
}

export function declareWeights(graph: Graph, architecture: Architecture): Weights {
  const byName = new Map<string, Tensor>();
  const byPart = new Map<string, Tensor>();
  for (const { name, shape, part, layer, expert } of listWeights(architecture)) {
    const tensor = input(graph, name, "float32", shape);
    byName.set(name, tensor);
    byPart.set(`${part} ${layer} ${expert}`, tensor);
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
