/**
 * What a command prints with `--json`: one JSON document, always an object. Integers that a double cannot hold go out as decimal
 * strings, and bytes as hexadecimal digits, so that no reader loses any. Every command states the document's shape as a schema.
 */

import * as v from "valibot";
import { ConnitoError } from "../errors.ts";

/** The shape of a command's document, as it is printed: a big integer is a string here. */
export type ResultSchema = v.GenericSchema<unknown, object>;

/** The document of a command's result. Nothing at all is the empty object; a list or a single value stands under `result`. */
export function resultDocument(result: unknown): object {
  const plain = toPlain(result);
  if (plain === undefined || plain === null) return {};
  return typeof plain === "object" && !Array.isArray(plain) ? plain : { result: plain };
}

/** The text of a document: two spaces of indentation, as people also read it, and a line feed at the end. */
export function documentText(document: object): string {
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** @throws result-shape (a fault in the command, never in its input) when the document is not what the schema says. */
export function checkDocument(schema: ResultSchema, document: object): void {
  const checked = v.safeParse(schema, JSON.parse(documentText(document)));
  if (checked.success) return;
  const places = checked.issues.map((issue) => `${v.getDotPath(issue) ?? "document"}: ${issue.message}`).join("; ");
  throw new ConnitoError(`The result is not what its schema says: ${places}`, {
    code: "result-shape",
    exit: "unexpected",
    hint: "Mend the command's resultSchema, or what it returns.",
  });
}

/** JSON.stringify throws on a BigInt after the work is done, and prints a Map as {}: neither may happen to a result. */
function toPlain(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(toPlain);
  if (value instanceof Set) return [...value].map(toPlain);
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<unknown>, toPlain);
  if ("toJSON" in value && typeof value.toJSON === "function") return toPlain(value.toJSON());
  const entries = value instanceof Map ? [...value].map(([key, entry]) => [String(key), entry] as const) : Object.entries(value);
  return Object.fromEntries(entries.map(([key, entry]) => [key, toPlain(entry)]));
}
