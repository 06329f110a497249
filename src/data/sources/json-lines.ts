/** JSON lines as documents: one object a line, of which a template takes strings. Empty lines are passed over. */
import { sourceMalformed } from "./errors.ts";
import { fieldsOf, fillTemplate } from "./source.ts";

/** A line is held in memory whole. */
const longestLine = 64 * 2 ** 20;
const loneSurrogate = /\p{Surrogate}/u;

/** The texts of a file's lines, several at once. Errors: data-malformed with the number of the line. */
export async function* jsonLines(location: string, chunks: AsyncIterable<Uint8Array>, template: string): AsyncGenerator<string[]> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const fields = fieldsOf(template);
  let number = 0;
  const textOf = (bytes: Uint8Array): string | undefined => {
    number += 1;
    const wrong = (reason: string, cause?: unknown) => sourceMalformed(location, `line ${number}`, reason, cause);
    let line: string;
    try {
      line = decoder.decode(bytes);
    } catch (cause) {
      throw wrong("not UTF-8", cause);
    }
    if (line.trim() === "") return undefined;
    let record: unknown;
    try {
      record = JSON.parse(line);
    } catch (cause) {
      throw wrong("not JSON", cause);
    }
    if (typeof record !== "object" || record === null || Array.isArray(record)) throw wrong("not an object");
    const values = record as Record<string, unknown>;
    for (const field of fields) {
      if (!Object.hasOwn(values, field)) throw wrong(`no field ${field}; it has ${Object.keys(values).slice(0, 10).join(", ")}`);
    }
    if (fields.every((field) => values[field] === null)) return undefined;
    return fillTemplate(template, (field) => {
      const value = values[field];
      if (value === null) return "";
      if (typeof value !== "string") throw wrong(`its ${field} is no string`);
      if (loneSurrogate.test(value)) throw wrong(`its ${field} holds half of a surrogate pair`);
      return value;
    });
  };

  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const chunk of chunks) {
    const found: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const text = textOf(heldBytes === 0 ? chunk.subarray(start, end) : Buffer.concat([...held, chunk.subarray(start, end)]));
      if (text !== undefined) found.push(text);
      held = [];
      heldBytes = 0;
      start = end + 1;
    }
    if (start < chunk.length) {
      // The chunk's memory may be used again for the next one.
      held.push(Uint8Array.from(chunk.subarray(start)));
      heldBytes += chunk.length - start;
      if (heldBytes > longestLine) throw sourceMalformed(location, `line ${number + 1}`, `longer than ${longestLine} bytes`);
    }
    if (found.length > 0) yield found;
  }
  const last = heldBytes === 0 ? undefined : textOf(Buffer.concat(held));
  if (last !== undefined) yield [last];
}
