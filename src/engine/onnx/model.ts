/**
 * An ONNX model as plain data: what the graph builder hands to the writer. The names are ONNX's own.
 */

/** The element types that our graphs use, by the name that ONNX gives them in lower case (`float` is "float32" here). */
export type OnnxElementType = "float32" | "int32" | "int64" | "bool" | "float16" | "bfloat16" | "uint8";

/** A constant: row-major, little-endian. */
export interface OnnxTensor {
  readonly type: OnnxElementType;
  readonly shape: readonly number[];
  /** float16, bfloat16: the 16 bits of each element. bool: 0 or 1. */
  readonly data: Float32Array | Int32Array | BigInt64Array | Uint16Array | Uint8Array;
}

/** An attribute carries its ONNX type in the key, since a JavaScript 1 may be either an int or a float. */
export type OnnxAttribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly tensor: OnnxTensor };

export interface OnnxNode {
  /** "MatMul", "Split", ... */
  readonly operator: string;
  /** Names of values; "" leaves an optional input out. */
  readonly inputs: readonly string[];
  /** Names given to the results; "" for a result that is not wanted. */
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** Shown in errors and profiles. */
  readonly name?: string;
  /** "" (the default) is ONNX's own operator set, "com.microsoft" ONNX Runtime's. */
  readonly domain?: "" | "com.microsoft";
}

/** A graph input or output: always of static shape. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxElementType;
  readonly shape: readonly number[];
}

export interface OnnxModel {
  readonly name?: string;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  /** Constants by name. */
  readonly initializers?: Readonly<Record<string, OnnxTensor>>;
  /** Constants whose data are handed over when the model is loaded. */
  readonly externals?: readonly OnnxValue[];
  /** In an order in which every value is made before it is used. */
  readonly nodes: readonly OnnxNode[];
}
