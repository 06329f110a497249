/** What `doctor` finds out about one thing. */
import { ConnitoError, type ExitCodeName } from "../../errors.ts";

export interface Finding {
  /** What was looked at: "endpoint", "disk". */
  readonly check: string;
  /** `warning`: works, but may not all night. `unknown`: could not be looked at, because something before it failed or nothing was asked. */
  readonly state: "ok" | "warning" | "failed" | "unknown";
  /** What was found, in a few words. */
  readonly found: string;
  /** What to do about it; absent where there is nothing to do. */
  readonly advice?: string;
  /** The exit code that a failure amounts to. */
  readonly exit?: ExitCodeName;
}

export const ok = (check: string, found: string): Finding => ({ check, state: "ok", found });
export const warning = (check: string, found: string, advice: string): Finding => ({ check, state: "warning", found, advice });
export const unknown = (check: string, found: string): Finding => ({ check, state: "unknown", found });

export function failed(check: string, exit: ExitCodeName, found: string, advice: string): Finding {
  return { check, state: "failed", found, advice, exit };
}

/** The finding of a check that threw: what the error says, and its advice. */
export function failedBy(check: string, exit: ExitCodeName, error: unknown): Finding {
  const { message } = error instanceof Error ? error : new Error(String(error));
  const advice = error instanceof ConnitoError ? error.hint : "This is a fault in connito. Please report it.";
  return failed(check, exit, message, advice);
}
