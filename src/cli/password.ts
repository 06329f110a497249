/**
 * The password of an encrypted hotkey: from --password-file (a file, a descriptor such as /dev/fd/3, or - for stdin), else from
 * CONNITO_PASSWORD, else asked for. Never from a flag's value, which every user of the machine could read in the process list.
 */

import { readInput } from "./input.ts";
import type { Prompts } from "./prompts.ts";

const maximumBytes = 4096;

export interface PasswordOptions {
  /** The value of --password-file. */
  readonly file?: string | undefined;
  readonly prompts: Prompts;
  readonly signal: AbortSignal;
  /** Where CONNITO_PASSWORD is looked up. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** A function that finds the password when it is needed, and the same one however often it is called. */
export function passwordSource(options: PasswordOptions): () => Promise<string> {
  let found: Promise<string> | undefined;
  return () => (found ??= findPassword(options));
}

async function findPassword({ file, prompts, signal, environment = process.env }: PasswordOptions): Promise<string> {
  if (file !== undefined) {
    const bytes = await readInput(file, { maximumBytes, signal });
    return new TextDecoder().decode(bytes).replace(/\r?\n$/, "");
  }
  const given = environment["CONNITO_PASSWORD"];
  if (given !== undefined && given !== "") return given;
  return prompts.secret({ flag: "--password-file", message: "Password of the hotkey" });
}
