/**
 * Questions, for people at a terminal only. Everywhere else (pipes, cron, `--json`, `--no-input`) a question fails at once and names
 * the flag that would have answered it. Questions are written to stderr, so that stdout stays the result's.
 */

import { ConnitoError } from "../errors.ts";
import { isCapable } from "../ui/terminal.ts";
import { Interruption } from "./signals.ts";

interface QuestionBase {
  /** The flag that answers the question without asking, with its dashes: `--name`. */
  readonly flag: string;
  readonly message: string;
}

export interface TextQuestion extends QuestionBase {
  readonly default?: string;
  /** Says what is wrong with the answer; undefined where nothing is. */
  readonly problem?: (answer: string) => string | undefined;
}

export interface ChoiceQuestion extends QuestionBase {
  readonly choices: readonly { readonly value: string; readonly label?: string }[];
  readonly default?: string;
}

export interface ConfirmQuestion extends QuestionBase {
  readonly default?: boolean;
}

/** All of them reject with `input-missing` (exit 2) where nobody can be asked. */
export interface Prompts {
  /** True where somebody can be asked. */
  readonly interactive: boolean;
  text(question: TextQuestion): Promise<string>;
  secret(question: QuestionBase): Promise<string>;
  choice(question: ChoiceQuestion): Promise<string>;
  confirm(question: ConfirmQuestion): Promise<boolean>;
}

export interface PromptsOptions {
  readonly interactive: boolean;
  /** A question that waits is given up when this aborts. */
  readonly signal: AbortSignal;
}

/** People can be asked where stdin and stderr are terminals and nobody said otherwise. */
export function canAsk(flags: { readonly noInput: boolean; readonly json: boolean }): boolean {
  return !flags.noInput && !flags.json && isCapable(process.stdin) && isCapable(process.stderr);
}

export function createPrompts({ interactive, signal }: PromptsOptions): Prompts {
  const ask = async (flag: string, question: object): Promise<unknown> => {
    if (!interactive) throw missing(flag);
    const { default: inquirer } = await import("inquirer");
    const prompt = inquirer.createPromptModule({ output: process.stderr, signal });
    try {
      // The questions are built below, one kind each; inquirer's own types want literal names that only its callers can write.
      const answers = await (prompt as unknown as (questions: object[]) => Promise<{ answer: unknown }>)([{ name: "answer", ...question }]);
      return answers.answer;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      // A terminal in raw mode makes no signal of Ctrl-C.
      if (error instanceof Error && error.name === "ExitPromptError") throw new Interruption("SIGINT");
      throw error;
    }
  };

  return {
    interactive,
    async text({ flag, message, default: initial, problem }) {
      const validate = (answer: string) => problem?.(answer) ?? true;
      return String(await ask(flag, { type: "input", message, validate, ...(initial === undefined ? {} : { default: initial }) }));
    },
    async secret({ flag, message }) {
      return String(await ask(flag, { type: "password", message, mask: "*" }));
    },
    async choice({ flag, message, choices, default: initial }) {
      const listed = choices.map(({ value, label }) => ({ value, name: label ?? value }));
      return String(await ask(flag, { type: "select", message, choices: listed, ...(initial === undefined ? {} : { default: initial }) }));
    },
    async confirm({ flag, message, default: initial = false }) {
      return Boolean(await ask(flag, { type: "confirm", message, default: initial }));
    },
  };
}

function missing(flag: string): ConnitoError {
  return new ConnitoError(`${flag} is missing.`, {
    code: "input-missing",
    exit: "usage",
    hint: `Give ${flag}. It is asked for only on a terminal, without --no-input and --json.`,
  });
}
