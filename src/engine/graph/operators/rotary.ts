/**
 * Rotary position embedding (arXiv 2104.09864): pairs of a head's columns are turned by angles that grow with the position. A pair is a column and the one half
 * a turned width further, as in LLaMA's published weights, or two neighbours, as in those of DeepSeek and Llama 4.
 */
import { applyOne, constant, type Graph, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { staticMatrix } from "../shape.ts";

/** Cosines and sines [rows, turned width / 2] of the angles of each row's position. */
export interface Rotation {
  readonly cosine: Tensor;
  readonly sine: Tensor;
  /** The sines of the opposite rotation, which is the gradient. */
  readonly negatedSine: Tensor;
  /** 0, 1, 2, ...: row i takes the i-th row of the tables. */
  readonly rows: Tensor;
  /** Whether pairs are neighbours. */
  readonly interleaved: boolean;
}

export interface RotationOptions {
  /** Radians a position, of each pair: half as many as there are columns to turn. */
  readonly frequencies: readonly number[];
  /** What turned columns are multiplied by as well; 1 where left out. */
  readonly scale?: number;
  readonly interleaved?: boolean;
}

interface Turned {
  readonly negatedSine: Tensor;
  readonly interleaved: boolean;
  readonly heads: number;
}

const operator: Operator<Turned> = {
  name: "rotate",
  outputs: ([x, , , cosine], { heads }) => {
    const [rows, columns] = staticMatrix("rotate", x as TensorType);
    const [tableRows, half] = staticMatrix("rotate", cosine as TensorType);
    if (rows !== tableRows || columns % heads !== 0 || columns / heads < 2 * half) {
      throw new Error(`rotate: [${rows}, ${columns}] of ${heads} heads does not fit a rotation of ${tableRows} rows and ${half} angles`);
    }
    return [{ type: "float32", shape: [rows, columns] }];
  },
  lower: (emit, [x, rows, sine, cosine], [output], { inputs, attributes: { interleaved, heads } }) => {
    const shape = staticMatrix("rotate", inputs[0] as Tensor);
    const [, half] = staticMatrix("rotate", inputs[3] as Tensor);
    const partly = 2 * half < shape[1] / heads;
    const whole = emit.node("Reshape", [x as string, emit.integers([1, ...shape])]);
    const turned = emit.node("RotaryEmbedding", [whole, rows as string, cosine as string, sine as string], {
      domain: "com.microsoft",
      attributes: {
        interleaved: { int: interleaved ? 1 : 0 },
        ...(partly && { num_heads: { int: heads }, rotary_embedding_dim: { int: 2 * half } }),
      },
    });
    emit.node("Reshape", [turned, emit.integers(shape)], { output });
  },
  gradient: ({ inputs, attributes }, [dy]) => {
    const [, rows, sine, cosine] = inputs as [Tensor, Tensor, Tensor, Tensor];
    return [applyOne(operator, [dy as Tensor, rows, attributes.negatedSine, cosine], { ...attributes, negatedSine: sine })];
  },
};

/** x [rows, heads * width]: the first columns of each head, as many as the rotation turns, are turned by their row's angles; the rest stay. */
export function rotate(x: Tensor, heads: number, { cosine, sine, negatedSine, rows, interleaved }: Rotation): Tensor {
  return applyOne(operator, [x, rows, sine, cosine], { negatedSine, interleaved, heads });
}

/** The tables for rows at the given positions. Frequencies and angles are rounded to fp32, as where the weights were trained. */
export function rotation(graph: Graph, positions: readonly number[], { frequencies, scale = 1, ...options }: RotationOptions): Rotation {
  const half = frequencies.length;
  const table = (of: (angle: number) => number) => {
    const data = new Float32Array(positions.length * half);
    for (const index of data.keys()) {
      const position = positions[Math.floor(index / half)] as number;
      data[index] = scale * of(Math.fround(position * Math.fround(frequencies[index % half] as number)));
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
    interleaved: options.interleaved ?? false,
  };
}
