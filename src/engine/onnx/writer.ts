/**
 * An ONNX model as bytes: `ModelProto` of the public `onnx.proto`, whose field numbers stand here beside the fields they name.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { ConnitoError } from "../../errors.ts";
import type { OnnxAttribute, OnnxElementType, OnnxModel, OnnxNode, OnnxTensor, OnnxValue } from "./model.ts";

/** IR version 10 and operator set 21 came with ONNX 1.16; ONNX Runtime reads both since 1.18. */
const irVersion = 10;
const operatorSet = 21;
/** Version of the `com.microsoft` operators; there has been one only. */
const contributedOperatorSet = 1;

/** `TensorProto.DataType`, and the bytes of one element. */
const elementTypes: Record<OnnxElementType, { readonly number: number; readonly bytes: number }> = {
  float32: { number: 1, bytes: 4 },
  uint8: { number: 2, bytes: 1 },
  int32: { number: 6, bytes: 4 },
  int64: { number: 7, bytes: 8 },
  bool: { number: 9, bytes: 1 },
  float16: { number: 10, bytes: 2 },
  bfloat16: { number: 16, bytes: 2 },
};

/** `AttributeProto.AttributeType`. */
const attributeTypes = { float: 1, int: 2, string: 3, tensor: 4, floats: 6, ints: 7, strings: 8 } as const;

/** A protobuf message cannot be longer than this. */
const maximumBytes = 2 ** 31 - 1;

/** The model's bytes. Errors: engine-model for a constant whose data do not fit its shape, or for more than 2 GiB of constants. */
export function encodeModel(model: OnnxModel): Uint8Array<ArrayBuffer> {
  const initializers = Object.entries(model.initializers ?? {});
  const bytes = initializers.reduce((sum, [, tensor]) => sum + tensor.data.byteLength, 0);
  if (bytes > maximumBytes) throw invalid(`${bytes} bytes of constants do not fit into one model: feed large weights as inputs`);

  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(irVersion);
  writer.tag(2, WireType.LengthDelimited).string("connito");
  message(writer, 7, () => {
    for (const node of model.nodes) message(writer, 1, () => writeNode(writer, node));
    writer.tag(2, WireType.LengthDelimited).string(model.name ?? "graph");
    for (const [name, tensor] of initializers) message(writer, 5, () => writeTensor(writer, tensor, name));
    for (const external of model.externals ?? []) message(writer, 5, () => writeExternal(writer, external));
    for (const input of model.inputs) message(writer, 11, () => writeValue(writer, input));
    for (const output of model.outputs) message(writer, 12, () => writeValue(writer, output));
  });
  message(writer, 8, () => writeOperatorSet(writer, "", operatorSet));
  if (model.nodes.some((node) => node.domain === "com.microsoft")) {
    message(writer, 8, () => writeOperatorSet(writer, "com.microsoft", contributedOperatorSet));
  }
  return writer.finish();
}

function message(writer: BinaryWriter, field: number, content: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  content();
  writer.join();
}

function writeOperatorSet(writer: BinaryWriter, domain: string, version: number): void {
  writer.tag(1, WireType.LengthDelimited).string(domain);
  writer.tag(2, WireType.Varint).int64(version);
}

function writeNode(writer: BinaryWriter, node: OnnxNode): void {
  for (const input of node.inputs) writer.tag(1, WireType.LengthDelimited).string(input);
  for (const output of node.outputs) writer.tag(2, WireType.LengthDelimited).string(output);
  if (node.name !== undefined) writer.tag(3, WireType.LengthDelimited).string(node.name);
  writer.tag(4, WireType.LengthDelimited).string(node.operator);
  for (const [name, attribute] of Object.entries(node.attributes ?? {})) {
    message(writer, 5, () => writeAttribute(writer, name, attribute));
  }
  if (node.domain !== undefined) writer.tag(7, WireType.LengthDelimited).string(node.domain);
}

function writeAttribute(writer: BinaryWriter, name: string, attribute: OnnxAttribute): void {
  writer.tag(1, WireType.LengthDelimited).string(name);
  const [type] = Object.keys(attribute) as (keyof typeof attributeTypes)[];
  if ("float" in attribute) writer.tag(2, WireType.Bit32).float(attribute.float);
  if ("int" in attribute) writer.tag(3, WireType.Varint).int64(attribute.int);
  if ("string" in attribute) writer.tag(4, WireType.LengthDelimited).string(attribute.string);
  if ("tensor" in attribute) message(writer, 5, () => writeTensor(writer, attribute.tensor, ""));
  if ("floats" in attribute) for (const value of attribute.floats) writer.tag(7, WireType.Bit32).float(value);
  if ("ints" in attribute) for (const value of attribute.ints) writer.tag(8, WireType.Varint).int64(value);
  if ("strings" in attribute) for (const value of attribute.strings) writer.tag(9, WireType.LengthDelimited).string(value);
  if (type !== undefined) writer.tag(20, WireType.Varint).int32(attributeTypes[type]);
}

function writeTensor(writer: BinaryWriter, tensor: OnnxTensor, name: string): void {
  const { number, bytes } = elementTypes[tensor.type];
  const expected = tensor.shape.reduce((product, length) => product * length, bytes);
  const { buffer, byteOffset, byteLength } = tensor.data;
  if (byteLength !== expected || tensor.data.BYTES_PER_ELEMENT !== bytes) {
    throw invalid(`constant ${name}: ${tensor.type} of shape [${tensor.shape.join(", ")}] takes ${expected} bytes, not ${byteLength}`);
  }
  for (const length of tensor.shape) writer.tag(1, WireType.Varint).int64(length);
  writer.tag(2, WireType.Varint).int32(number);
  if (name !== "") writer.tag(8, WireType.LengthDelimited).string(name);
  writer.tag(9, WireType.LengthDelimited).bytes(new Uint8Array(buffer, byteOffset, byteLength));
}

/** A TensorProto without data: data_location (14) is EXTERNAL (1), and external_data (13) has to name a file, which nobody reads. */
function writeExternal(writer: BinaryWriter, { name, type, shape }: OnnxValue): void {
  for (const length of shape) writer.tag(1, WireType.Varint).int64(length);
  writer.tag(2, WireType.Varint).int32(elementTypes[type].number);
  writer.tag(8, WireType.LengthDelimited).string(name);
  message(writer, 13, () => {
    writer.tag(1, WireType.LengthDelimited).string("location");
    writer.tag(2, WireType.LengthDelimited).string("memory");
  });
  writer.tag(14, WireType.Varint).int32(1);
}

function writeValue(writer: BinaryWriter, value: OnnxValue): void {
  writer.tag(1, WireType.LengthDelimited).string(value.name);
  // ValueInfoProto.type (2) is a TypeProto, whose tensor_type (1) holds elem_type (1) and shape (2), whose dims (1) hold dim_value (1).
  message(writer, 2, () =>
    message(writer, 1, () => {
      writer.tag(1, WireType.Varint).int32(elementTypes[value.type].number);
      message(writer, 2, () => {
        for (const length of value.shape) message(writer, 1, () => writer.tag(1, WireType.Varint).int64(length));
      });
    }),
  );
}

function invalid(text: string): ConnitoError {
  return new ConnitoError(text, {
    code: "engine-model",
    exit: "unexpected",
    hint: "this is a fault in the graph builder; please report it with the message above",
  });
}
