/**
 * Tensors by name, read one at a time: what a submission, a gradient or a step holds, however large it is as a whole. Whoever computes with
 * them needs memory for a tensor of each operand.
 */

export interface Tensors {
  /** The number of values of each tensor, by name, in canonical order. */
  readonly sizes: ReadonlyMap<string, number>;
  /** One tensor's values, fp32. Not to be changed: others may be given the same array. */
  read(name: string): Promise<Float32Array>;
}

/** Tensors that are in memory already. */
export function tensorsOf(values: ReadonlyMap<string, Float32Array>): Tensors {
  return {
    sizes: new Map([...values].map(([name, { length }]) => [name, length])),
    read: async (name) => values.get(name) as Float32Array,
  };
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
    read: async (name) => {
      const found = kept.get(name);
      if (found !== undefined) return found;
      const values = await tensors.read(name);
      if (values.byteLength <= room.bytes && !kept.has(name)) {
        room.bytes -= values.byteLength;
        kept.set(name, values);
      }
      return values;
    },
  };
}
