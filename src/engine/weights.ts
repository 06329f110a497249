/** The weights that trainer, evaluator and router statistics are given: complete, of the right sizes, and nothing else. */
import { ConnitoError } from "../errors.ts";
import { type Architecture, listWeights } from "../model/families/index.ts";

/**
 * The shape of every tensor of the architecture, by name.
 * Errors: weights-mismatch, where a tensor is missing, unknown or of another size; nothing-trainable and weights-mismatch for `trainable`.
 */
export function checkWeights(
  architecture: Architecture,
  weights: ReadonlyMap<string, Float32Array>,
  trainable?: readonly string[],
): Map<string, readonly number[]> {
  const shapes = new Map(listWeights(architecture).map(({ name, shape }) => [name, shape]));
  for (const [name, shape] of shapes) {
    const expected = shape.reduce((product, length) => product * length, 1);
    const given = weights.get(name)?.length;
    if (given !== expected)
      throw mismatch(`${name} of shape [${shape}] ${given === undefined ? "is missing" : `was given ${given} values`}`);
  }
  for (const name of weights.keys()) if (!shapes.has(name)) throw mismatch(`${name} is no tensor of ${architecture.family}`);
  if (trainable === undefined) return shapes;
  if (trainable.length === 0) {
    throw new ConnitoError("nothing is to be trained", {
      code: "nothing-trainable",
      exit: "invalidInput",
      hint: "Name at least one tensor; a higher selection threshold selects more experts.",
    });
  }
  for (const name of trainable)
    if (!shapes.has(name)) throw mismatch(`${name}, which is to be trained, is no tensor of ${architecture.family}`);
  if (new Set(trainable).size !== trainable.length) throw mismatch("a tensor is to be trained twice");
  return shapes;
}

function mismatch(message: string): ConnitoError {
  return new ConnitoError(`the weights do not fit the model: ${message}`, {
    code: "weights-mismatch",
    exit: "invalidInput",
    hint: "Check that config.json and the safetensors files belong together.",
  });
}
