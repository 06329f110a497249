/** Rotary position embedding (arXiv 2104.09864), in the half-rotated form that the LLaMA-like families use. */
import { applyOne, constant, type Graph, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { staticMatrix } from "../shape.ts";

/** Cosines and sines [rows, headDimension / 2] of the angles of each row's position. */
export interface Rotation {
  readonly cosine: Tensor;
  readonly sine: Tensor;
  /** The sines of the opposite rotation, which is the gradient. */
  readonly negatedSine: Tensor;
  /** 0, 1, 2, ...: row i takes the i-th row of the tables. */
  readonly rows: Tensor;
}

const operator: Operator<{ readonly negatedSine: Tensor }> = {
  name: "rotate",
  outputs: ([x, , , cosine]) => {
    const [rows, columns] = staticMatrix("rotate", x as TensorType);
    const [tableRows, half] = staticMatrix("rotate", cosine as TensorType);
    if (rows !== tableRows || columns % (2 * half) !== 0) {
      throw new Error(`rotate: [${rows}, ${columns}] does not fit a rotation of ${tableRows} rows and ${half} angles`);
    }
    return [{ type: "float32", shape: [rows, columns] }];
  },
  lower: (emit, [x, rows, sine, cosine], [output], { inputs }) => {
    const shape = staticMatrix("rotate", inputs[0] as Tensor);
    const whole = emit.node("Reshape", [x as string, emit.integers([1, ...shape])]);
    const turned = emit.node("RotaryEmbedding", [whole, rows as string, cosine as string, sine as string], { domain: "com.microsoft" });
    emit.node("Reshape", [turned, emit.integers(shape)], { output });
  },
  gradient: ({ inputs, attributes }, [dy]) => {
    const [, rows, sine, cosine] = inputs as [Tensor, Tensor, Tensor, Tensor];
    return [applyOne(operator, [dy as Tensor, rows, attributes.negatedSine, cosine], { negatedSine: sine })];
  },
};

/** x [rows, heads * headDimension], each head turned by its row's angles. */
export function rotate(x: Tensor, { cosine, sine, negatedSine, rows }: Rotation): Tensor {
  return applyOne(operator, [x, rows, sine, cosine], { negatedSine });
}

/** The tables for rows at the given positions: angle i of position p is p / theta^(2 i / headDimension). */
export function rotation(graph: Graph, positions: readonly number[], headDimension: number, theta: number): Rotation {
  const half = headDimension / 2;
  const table = (of: (angle: number) => number) => {
    const data = new Float32Array(positions.length * half);
    for (const index of data.keys()) {
      const position = positions[Math.floor(index / half)] as number;
      data[index] = of(position / theta ** ((index % half) / half));
    }
    return constant(graph, [positions.length, half], data);
  };
  return {
    cosine: table(Math.cos),
    sine: table(Math.sin),
    negatedSine: table((angle) => -Math.sin(angle)),
    rows: constant(
      graph,
      [1, positions.length],
      BigInt64Array.from(positions, (_, index) => BigInt(index)),
    ),
  };
}
