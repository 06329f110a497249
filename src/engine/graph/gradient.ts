/**
 * Reverse-mode differentiation: extends a graph by nodes that compute the gradients of a loss. Only what the asked tensors
 * need is built: no gradient of a frozen weight, and none of an activation below the lowest trainable one.
 */
import type { GraphNode, Tensor } from "./graph.ts";
import { scalar } from "./graph.ts";
import { sumOfProducts } from "./operators/matrix.ts";
import { sameShape } from "./shape.ts";

/**
 * The gradients of `loss`, a scalar, with respect to each of `variables`, in their order. A variable that the loss does not
 * depend on is refused with an Error, since a frozen weight passed for trainable is a mistake. Gradients flow through float32 tensors only.
 */
export function gradients(loss: Tensor, variables: readonly Tensor[]): Tensor[] {
  if (loss.shape.length !== 0 || loss.type !== "float32") throw new Error(`a loss is a float32 scalar, not ${loss.type} [${loss.shape}]`);
  const { graph } = loss;
  const forward = [...graph.nodes];
  const depends = dependents(forward, variables);
  const parts = new Map<string, Tensor[]>([[loss.name, [scalar(graph, 1)]]]);

  for (const node of forward.reverse()) {
    const wanted = node.inputs.map(({ name }) => depends.has(name));
    if (!wanted.includes(true)) continue;
    const outputGradients = node.outputs.map((output) => total(parts, output));
    if (outputGradients.every((one) => one === undefined)) continue;
    if (node.operator.gradient === undefined) throw new Error(`${node.operator.name} has no gradient`);
    const inputGradients = node.operator.gradient(node, outputGradients, wanted);
    for (const [index, tensor] of node.inputs.entries()) {
      const gradient = inputGradients[index];
      if (!wanted[index] || gradient === undefined) continue;
      if (!sameShape(gradient.shape, tensor.shape)) {
        throw new Error(`${node.operator.name} gave a gradient of shape [${gradient.shape}] for an input of shape [${tensor.shape}]`);
      }
      const list = parts.get(tensor.name);
      if (list === undefined) parts.set(tensor.name, [gradient]);
      else list.push(gradient);
    }
  }
  return variables.map((variable) => {
    const gradient = total(parts, variable);
    if (gradient === undefined) throw new Error(`the loss does not depend on ${variable.name}`);
    return gradient;
  });
}

/** Names of the float32 tensors whose value depends on one of `variables`, themselves included. */
function dependents(nodes: readonly GraphNode[], variables: readonly Tensor[]): Set<string> {
  const names = new Set(variables.map(({ name }) => name));
  for (const node of nodes) {
    if (!node.inputs.some(({ name }) => names.has(name))) continue;
    for (const output of node.outputs) if (output.type === "float32") names.add(output.name);
  }
  return names;
}

/** The sum of the gradients that have reached a tensor, kept so that it is built once. */
function total(parts: Map<string, Tensor[]>, tensor: Tensor): Tensor | undefined {
  const list = parts.get(tensor.name);
  if (list === undefined) return undefined;
  const result = sumOfProducts(list);
  parts.set(tensor.name, [result]);
  return result;
}
