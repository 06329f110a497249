/**
 * Every failure that a person or a script should be able to act on is a ConnitoError: a stable `code`, the exit code that
 * belongs to it, whether trying again can help, and a hint that names what to do next. Anything else that is thrown is a bug.
 */

/** Exit codes, documented in docs/exit-codes.md and kept stable. 0 is done, or already done. */
export const exitCodes = {
  unexpected: 1,
  usage: 2,
  notInitialised: 10,
  locked: 11,
  key: 12,
  invalidInput: 13,
  phaseNotOpen: 20,
  deadlineMissed: 21,
  notAssigned: 22,
  network: 30,
  rejected: 31,
  verification: 40,
  storage: 50,
} as const;

export type ExitCodeName = keyof typeof exitCodes;

export interface ConnitoErrorOptions {
  /** Kebab-case, unique to the failure, never changed once released: scripts match on it. */
  readonly code: string;
  /** Which exit code the process ends with. */
  readonly exit: ExitCodeName;
  /** What to do next; names the command, flag or file. */
  readonly hint: string;
  /** True when the same call may succeed later without anything being changed. */
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

export class ConnitoError extends Error {
  override readonly name = "ConnitoError";
  readonly code: string;
  readonly exit: number;
  readonly hint: string;
  readonly retryable: boolean;

  constructor(message: string, options: ConnitoErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.exit = exitCodes[options.exit];
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
  }
}
