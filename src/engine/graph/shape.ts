/** Arithmetic on shapes, some of whose lengths may be names. */
import type { Dimension, Shape, TensorType } from "./graph.ts";

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}

/** The shape of an elementwise result under ONNX's (numpy's) broadcasting: lengths from the right are equal, or one of them is 1. */
export function broadcastShape(operator: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left === right || right === 1) return left;
    if (left === 1) return right;
    throw mismatch(operator, a, b);
  });
}

/** The number of elements, where every length is a number. */
export function staticCount(operator: string, shape: Shape): number {
  return staticShape(operator, shape).reduce((product, length) => product * length, 1);
}

export function staticShape(operator: string, shape: Shape): readonly number[] {
  return shape.map((length) => {
    if (typeof length === "number") return length;
    throw new Error(`${operator} needs a static shape, not [${shape}]`);
  });
}

/** The lengths of a matrix. */
export function matrixShape(operator: string, { shape }: TensorType): readonly [Dimension, Dimension] {
  const [rows, columns] = shape;
  if (shape.length !== 2 || rows === undefined || columns === undefined) throw new Error(`${operator} needs a matrix, not [${shape}]`);
  return [rows, columns];
}

/** The lengths of a matrix of static shape. */
export function staticMatrix(operator: string, tensor: TensorType): readonly [number, number] {
  return staticShape(operator, matrixShape(operator, tensor)) as readonly [number, number];
}

export function lastLength(operator: string, shape: Shape): number {
  const last = shape.at(-1);
  if (typeof last !== "number") throw new Error(`${operator} needs a static last length, not [${shape}]`);
  return last;
}

export function mismatch(operator: string, ...shapes: Shape[]): Error {
  return new Error(`${operator}: shapes ${shapes.map((shape) => `[${shape}]`).join(" and ")} do not fit`);
}
