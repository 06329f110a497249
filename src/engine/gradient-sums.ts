/** What is summed over a gradient that lies in chunks (flat-tensors.ts): its squares, and other gradients into it. */
import { encodeModel } from "./onnx/writer.ts";
import { additionModel, normModel, squaresOutput, updatedName } from "./optimizer.ts";
import { openSession, type Session, type SessionOptions } from "./runtime/session.ts";
import type { Value } from "./runtime/value.ts";
import { chunked } from "./update.ts";

export interface GradientSums {
  /** The sum of the squares of a gradient's elements. */
  squares(gradient: readonly Value[]): Promise<number>;
  /** Adds a gradient to another, where that lies. */
  add(gradient: readonly Value[], added: readonly Value[]): Promise<void>;
  dispose(): void;
}

/** For gradients in chunks of these lengths. Errors: those of the runtime. */
export async function openGradientSums(chunks: readonly number[], options: SessionOptions): Promise<GradientSums> {
  const norm = await openSession(encodeModel(normModel(chunks)), options);
  /** Made when there is a second gradient. */
  let addition: Session | undefined;
  return {
    async squares(gradient) {
      const { [squaresOutput]: squares } = await norm.run(chunked("gradient", gradient));
      return sumAndDispose(squares as Value);
    },
    async add(gradient, added) {
      addition ??= await openSession(encodeModel(additionModel(chunks)), options);
      const feeds = { ...chunked("gradient", gradient), ...chunked("added", added) };
      await addition.run(feeds, addition.outputs, { into: chunked("gradient", gradient, updatedName) });
    },
    dispose() {
      norm.dispose();
      addition?.dispose();
    },
  };
}

/** The sum of an output's elements, which is then disposed of. */
export function sumAndDispose(value: Value): number {
  const sum = value.float32().reduce((total, element) => total + element, 0);
  value.dispose();
  return sum;
}
