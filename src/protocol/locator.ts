/**
 * A locator says where a participant's bytes can be fetched: `http://host:port`, `https://host[:port]` or `file:/absolute/path`.
 * It comes from the chain, where anyone may write it: no user names, queries, paths after a host, or control characters.
 */
import { ConnitoError } from "../errors.ts";

export interface Locator {
  readonly kind: "http" | "https" | "file";
  /** The locator as written. */
  readonly text: string;
  /** For `http` and `https` the origin, without a slash at its end; for `file` the absolute path. */
  readonly target: string;
}

const loneSurrogate = /\p{Surrogate}/u;
const web = /^(https?):\/\/([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const file = /^file:(\/(?!\/)[^\u0000-\u001f\u007f]*)$/;

function read(text: string): Locator | undefined {
  const path = file.exec(text)?.[1];
  if (path !== undefined) return loneSurrogate.test(path) ? undefined : { kind: "file", text, target: path };
  const match = web.exec(text);
  if (match === null || !URL.canParse(text)) return undefined;
  const kind = match[1] as "http" | "https";
  const port = match[3];
  if (port === undefined ? kind === "http" : Number(port) < 1 || Number(port) > 65535) return undefined;
  return { kind, text, target: text };
}

export function isLocator(text: unknown): text is string {
  return typeof text === "string" && read(text) !== undefined;
}

/** Throws `locator-invalid`, naming the accepted forms. */
export function parseLocator(text: string): Locator {
  const locator = typeof text === "string" ? read(text) : undefined;
  if (locator === undefined) {
    throw new ConnitoError(`${JSON.stringify(String(text).slice(0, 200))} is not a locator`, {
      code: "locator-invalid",
      exit: "invalidInput",
      hint: "Use http://host:port, https://host, https://host:port or file:/absolute/path.",
    });
  }
  return locator;
}
