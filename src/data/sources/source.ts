/**
 * Where an owner's data come from. One source is a file, a directory of files or an http(s) address, of text, JSON lines or Parquet, and
 * is written as `LOCATION#name=value&name=value`:
 *
 *     speeches.txt                            passages of running text
 *     posts.jsonl.gz#field=body               the string `body` of each line
 *     https://host/a.parquet#template={title}%0A{text}
 *
 * Names are `format` (text, jsonl, parquet; otherwise by extension), `field` (by default `text`), `template`, `end` (`eos` or `none`: what
 * follows each document; by default eos for records and none for the passages of a text) and `sha256`, which pins the content.
 */
import { basename } from "node:path";
import { ConnitoError } from "../../errors.ts";
import { type Hash, isHash } from "../../protocol/hash.ts";

export const sourceFormats = ["text", "jsonl", "parquet"] as const;
export type SourceFormat = (typeof sourceFormats)[number];

export interface SourceSpec {
  /** A path, or an http(s) address. */
  readonly location: string;
  readonly format: SourceFormat;
  /** The text of a record, with names of its fields in braces: `{title}\n{text}`. Text has no fields. */
  readonly template: string;
  /** Whether the model's end-of-text token follows each document. */
  readonly endOfText: boolean;
  /** What the content must hash to. */
  readonly sha256?: Hash;
}

const names = ["format", "field", "template", "end", "sha256"];
const extensions: Readonly<Record<string, SourceFormat>> = { jsonl: "jsonl", ndjson: "jsonl", parquet: "parquet" };

/** Reads a source as its owner writes it. Errors: source-malformed. */
export function parseSource(text: string): SourceSpec {
  const { location, options } = divide(text);
  const unknown = [...options.keys()].filter((name) => !names.includes(name));
  if (unknown.length > 0) throw malformed(text, `${unknown[0]} is none of its options`);
  if (location === "") throw malformed(text, "it names no file or address");
  const format = options.get("format") ?? formatOf(location);
  if (!isFormat(format)) throw malformed(text, `${format} is no format`);
  const end = options.get("end") ?? (format === "text" ? "none" : "eos");
  if (end !== "eos" && end !== "none") throw malformed(text, `end is ${end}`);
  if (format === "text" && (options.has("field") || options.has("template"))) throw malformed(text, "a text has no fields");
  if (options.has("field") && options.has("template")) throw malformed(text, "it has a field and a template");
  const template = options.get("template") ?? `{${options.get("field") ?? "text"}}`;
  if (format !== "text" && fieldsOf(template).length === 0) throw malformed(text, "its template names no field in braces");
  const sha256 = options.get("sha256");
  if (sha256 !== undefined && !isHash(sha256)) throw malformed(text, "sha256 is no hash of 64 lower-case hexadecimal digits");
  return { location, format, template, endOfText: end === "eos", ...(sha256 === undefined ? {} : { sha256 }) };
}

export function isRemote(location: string): boolean {
  return /^https?:\/\//.test(location);
}

/** What a source may be called in messages and documents: without a query or password, which may be secrets. */
export function describeLocation(location: string): string {
  if (!isRemote(location)) return location;
  const { origin, pathname } = new URL(location);
  return origin + pathname;
}

/** The names in a template's braces, in order. */
export function fieldsOf(template: string): string[] {
  return [...template.matchAll(placeholder)].map((match) => match[1] as string);
}

/** A record's text; `value` gives a field's string. */
export function fillTemplate(template: string, value: (field: string) => string): string {
  return template.replace(placeholder, (_, field: string) => value(field));
}

const placeholder = /\{([^{}]+)\}/g;

/** A local name may hold a `#` itself: what follows the last one is options only where it reads like them. */
function divide(text: string): { location: string; options: Map<string, string> } {
  const mark = text.lastIndexOf("#");
  const rest = mark < 0 ? "" : text.slice(mark + 1);
  if (mark < 0 || (!isRemote(text) && !/^[a-z0-9]+=/.test(rest))) return { location: text, options: new Map() };
  const location = text.slice(0, mark);
  try {
    const pairs = rest.split("&").filter((pair) => pair !== "");
    const entries = pairs.map((pair): [string, string] => {
      const at = pair.indexOf("=");
      return at < 0 ? [pair, ""] : [pair.slice(0, at), decodeURIComponent(pair.slice(at + 1))];
    });
    return { location, options: new Map(entries) };
  } catch {
    throw malformed(text, "a percent sign in its options is not followed by two hexadecimal digits");
  }
}

function formatOf(location: string): SourceFormat {
  const name = isRemote(location) ? basename(URL.canParse(location) ? new URL(location).pathname : location) : basename(location);
  const extension = name.toLowerCase().replace(/\.gz$/, "").split(".").at(-1) as string;
  return extensions[extension] ?? "text";
}

function isFormat(text: string): text is SourceFormat {
  return (sourceFormats as readonly string[]).includes(text);
}

function malformed(text: string, reason: string): ConnitoError {
  return new ConnitoError(
    `The source ${describeLocation(text.split("#")[0] ?? text)} is not written as LOCATION#name=value&...: ${reason}.`,
    {
      code: "source-malformed",
      exit: "usage",
      hint: `Options are ${names.join(", ")}; formats ${sourceFormats.join(", ")}. For example posts.jsonl#field=body or a.parquet#template={title}%0A{text}.`,
    },
  );
}
