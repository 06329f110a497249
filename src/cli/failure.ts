/**
 * Whatever was thrown, as what people and scripts get to see: a stable code, a message, a hint, whether a retry can help, and the
 * exit code (docs/exit-codes.md). The same for every command, with and without `--json`.
 */

import { ConnitoError, exitCodes } from "../errors.ts";
import { Interruption } from "./signals.ts";

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly retryable: boolean;
  /** The process's exit code; not part of the printed document, which repeats nothing that the shell already knows. */
  readonly exit: number;
}

/** What an error of oclif carries; its classes are not imported here, so that this file costs nothing to load. */
interface OclifError extends Error {
  readonly oclif?: { readonly exit?: number };
}

/** Operating system errors that the user can act on. Everything else of that kind is reported by its message. */
const storageHints: Readonly<Record<string, readonly [code: string, hint: string]>> = {
  ENOSPC: ["disk-full", "Free some space, then run the same command again: it goes on where it stopped."],
  EDQUOT: ["disk-full", "Free some of the quota, then run the same command again: it goes on where it stopped."],
  EACCES: ["permission-denied", "Check who owns the file or directory, or choose another with --state-dir."],
  EPERM: ["permission-denied", "Check who owns the file or directory, or choose another with --state-dir."],
  EROFS: ["permission-denied", "The file system is read-only: choose another place with --state-dir."],
};

/**
 * @param commandLine the command as typed, without its flags ("connito task create"), for the hint of a usage error
 */
export function toFailure(error: unknown, commandLine: string): Failure {
  if (error instanceof ConnitoError) {
    const { code, message, hint, retryable, exit } = error;
    return { code, message: cleanMessage(message), hint, retryable, exit };
  }
  if (error instanceof Interruption) {
    return {
      code: "interrupted",
      message: error.message,
      hint: "Run the same command again: it goes on where it stopped.",
      retryable: true,
      exit: error.exit,
    };
  }
  if (isUsageError(error)) {
    return {
      code: "usage",
      message: cleanMessage(error.message),
      hint: `See \`${commandLine} --help\`.`,
      retryable: false,
      exit: exitCodes.usage,
    };
  }
  const storage = storageHints[(error as NodeJS.ErrnoException | undefined)?.code ?? ""];
  if (storage !== undefined) {
    const [code, hint] = storage;
    return { code, message: (error as Error).message, hint, retryable: code === "disk-full", exit: exitCodes.storage };
  }
  return {
    code: "unexpected",
    message: error instanceof Error ? error.message || error.name : String(error),
    hint: "This is a fault in connito. Set CONNITO_DEBUG=1 and run it again to see where, and please report it.",
    retryable: false,
    exit: (error as OclifError | undefined)?.oclif?.exit ?? exitCodes.unexpected,
  };
}

/** The document that `--json` prints for a failure. */
export function failureDocument({ code, message, hint, retryable }: Failure): { error: Omit<Failure, "exit"> } {
  return { error: { code, message, hint, retryable } };
}

/** What a person reads on stderr: the message, then what to do; the stack only where CONNITO_DEBUG asks for it. */
export function failureText(failure: Failure, error: unknown, debug: boolean): string {
  const text = `Error: ${failure.message} (${failure.code})\n${failure.hint}\n`;
  return debug && error instanceof Error ? `${text}\n${stackWithCauses(error)}\n` : text;
}

/** oclif marks what its parser refuses with the exit code 2, and what a flag's own check throws with a prefix only. */
function isUsageError(error: unknown): error is Error {
  return error instanceof Error && ((error as OclifError).oclif?.exit === exitCodes.usage || flagCheckPrefix.test(error.message));
}

const flagCheckPrefix = /^Parsing (--\S+) \n\t/;

/** oclif appends a pointer to the help to every message, and indents what a flag's own check said. */
function cleanMessage(message: string): string {
  return message
    .replace(/\n?See more help with --help/g, "")
    .replace(flagCheckPrefix, "$1: ")
    .replace(/^Nonexistent flag/, "Unknown flag")
    .trim();
}

function stackWithCauses(error: Error): string {
  const cause = error.cause instanceof Error ? `\nCaused by: ${stackWithCauses(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
