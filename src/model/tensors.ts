/**
 * Tensors by name, read one at a time: what a submission, a gradient or a step holds, however large it is as a whole. Whoever computes with
 * them needs memory for a tensor of each operand.
 */

export type Values = Float32Array<ArrayBuffer>;

export interface Tensors {
  /** The number of values of each tensor, by name, in canonical order. */
  readonly sizes: ReadonlyMap<string, number>;
  /**
   * One tensor's values, fp32, in `into` where that is given (as long as the tensor). What is given otherwise is not to be changed, and valid until the
   * same tensors are read again.
   */
  read(name: string, into?: Values): Promise<Float32Array>;
}

/** Tensors that are in memory already. */
export function tensorsOf(values: ReadonlyMap<string, Float32Array>): Tensors {
  return {
    sizes: new Map([...values].map(([name, { length }]) => [name, length])),
    read: async (name, into) => placed(values.get(name) as Float32Array, into),
  };
}

/** The values, in `into` where that is given. */
export function placed(values: Float32Array, into: Values | undefined): Float32Array {
  into?.set(values);
  return into ?? values;
}

/** Memory that is left for values read before, shared by all that keep theirs in it. */
export interface Room {
  bytes: number;
}

/** The same tensors, each read once and then kept as long as there is room; those that came too late are read again each time. */
export function keptIn(room: Room, tensors: Tensors): Tensors {
  const kept = new Map<string, Float32Array>();
  return {
    sizes: tensors.sizes,
    read: async (name, into) => {
      const found = kept.get(name);
      if (found !== undefined) return placed(found, into);
      const elements = tensors.sizes.get(name) ?? 0;
      if (4 * elements > room.bytes) return tensors.read(name, into);
      const values = await tensors.read(name, new Float32Array(elements));
      room.bytes -= values.byteLength;
      kept.set(name, values);
      return placed(values, into);
    },
  };
}
