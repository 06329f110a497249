/**
 * What every command of connito is: it parses its flags, does one thing (`perform`), and shows the result, as one JSON document on
 * stdout with `--json` and as text for people without. Everything else (progress, warnings, questions, errors for people) goes to
 * stderr. Failures have the same code, exit code and hint either way.
 *
 * oclif's own behaviour is mended here where it gets in the way of that: exit codes under `--json`, documents of failures, integers
 * beyond 2^53, results that print nothing, stdin that is read unasked, signals that skip the cleaning up.
 */

import { Command, type Interfaces } from "@oclif/core";
import { chooseProgress, createProgress, type Progress } from "../ui/progress.ts";
import { type Failure, failureDocument, failureText, toFailure } from "./failure.ts";
import { baseFlags } from "./flags.ts";
import { writeAll } from "./output.ts";
import { passwordSource } from "./password.ts";
import { canAsk, createPrompts, type Prompts } from "./prompts.ts";
import { checkDocument, documentText, type ResultSchema, resultDocument } from "./result.ts";
import { type Finalizer, Interruption, type StopWatch, watchSignals } from "./signals.ts";

export type CommandFlags<T extends typeof Command> = Interfaces.InferredFlags<typeof baseFlags & T["flags"]>;
export type CommandArgs<T extends typeof Command> = Interfaces.InferredArgs<T["args"]>;

/** One run of a command: what was asked for, and the doors to the person or script that asked. */
export interface Invocation<T extends typeof Command> {
  readonly flags: CommandFlags<T>;
  readonly args: CommandArgs<T>;
  /** True where the result is printed as JSON. */
  readonly json: boolean;
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP, with the reason to reject with. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  readonly prompts: Prompts;
  /** The hotkey's password, found (or asked for) when first needed. */
  readonly password: () => Promise<string>;
  /** Registers what must happen before the process ends, also when it is killed by a second signal; returns what takes it back. */
  onFinish(finalizer: Finalizer): () => void;
  /** A line for the user beside the result. */
  warn(message: string): void;
}

export abstract class BaseCommand<T extends typeof Command, R extends object = object> extends Command {
  static override readonly enableJsonFlag = true;
  static override readonly baseFlags = baseFlags;

  /** What progress is where stderr is no terminal and the user did not choose: a command whose progress scripts follow says json. */
  static readonly progressElsewhere: "json" | "plain" = "plain";

  /** The shape of the `--json` document. A method, so that help and manifest do not build it. Every command states its own. */
  static resultSchema(): ResultSchema {
    throw new Error("The command does not state its resultSchema.");
  }

  private watch: StopWatch | undefined;
  private progress: Progress | undefined;

  /** Does the work. Rejects with a ConnitoError where the user can do something about it. */
  protected abstract perform(invocation: Invocation<T>): Promise<R>;

  /** The result as people read it; undefined where progress has said everything. */
  protected abstract render(result: R, invocation: Invocation<T>): string | undefined;

  override async run(): Promise<void> {
    const command = this.ctor as typeof BaseCommand;
    // Arguments that are absent stay absent: oclif would wait for stdin. A command that reads stdin does so on an explicit "-".
    const args = Object.fromEntries(Object.entries(command.args ?? {}).map(([name, arg]) => [name, { ...arg, ignoreStdin: true }]));
    const { baseFlags, enableJsonFlag, flags: ownFlags, strict } = command;
    const parsed = await this.parse({ args, baseFlags, enableJsonFlag, flags: ownFlags, strict });
    const flags = parsed.flags as CommandFlags<T>;
    const json = this.jsonEnabled();

    // stdout belongs to the result; libraries that log there would break the one document.
    for (const method of ["log", "info", "debug"] as const) console[method] = console.error;
    this.watch = watchSignals({ onInterrupt: ({ message }) => process.stderr.write(`${message} Once more to force.\n`) });
    const { signal, onFinish } = this.watch;
    const chosen = flags.progress;
    this.progress = createProgress({
      kind: chosen === "auto" ? chooseProgress(process.stderr, json ? "json" : command.progressElsewhere) : chosen,
    });
    const prompts = createPrompts({ interactive: canAsk({ noInput: flags["no-input"], json }), signal });
    const invocation: Invocation<T> = {
      flags,
      args: parsed.args as CommandArgs<T>,
      json,
      signal,
      progress: this.progress,
      prompts,
      password: passwordSource({ file: (flags as { "password-file"?: string })["password-file"], prompts, signal }),
      onFinish,
      warn: (message) => void process.stderr.write(`Warning: ${message}\n`),
    };

    const result = await this.perform(invocation);
    if (json) await this.printDocument(command, result);
    else await this.printText(this.render(result, invocation));
  }

  private async printDocument(command: typeof BaseCommand, result: R): Promise<void> {
    const document = resultDocument(result);
    if (process.env["CONNITO_CHECK_RESULTS"] === "1") checkDocument(command.resultSchema(), document);
    await writeAll(process.stdout, documentText(document));
  }

  private async printText(text: string | undefined): Promise<void> {
    if (text !== undefined && text !== "") await writeAll(process.stdout, text.endsWith("\n") ? text : `${text}\n`);
  }

  /** Reports the failure itself, with or without `--json`; oclif would exit with 1 for all of them under `--json`. */
  protected override async catch(error: Error): Promise<void> {
    this.parsed = true;
    this.progress?.fail();
    const interrupted = this.watch?.signal.aborted ? this.watch.signal.reason : undefined;
    // What was under way when the signal came may reject with anything: the signal is why.
    const cause = interrupted instanceof Interruption && isAbort(error) ? interrupted : error;
    await reportFailure(cause, {
      commandLine: `${this.config.bin} ${this.id?.replaceAll(":", " ") ?? ""}`.trim(),
      json: this.jsonEnabled(),
    });
  }

  /** Releases locks and whatever else was registered, whether the command did its work or not. What cannot be released changes nothing of that. */
  protected override async finally(_error: Error | undefined): Promise<void> {
    try {
      await this.watch?.finish();
    } catch (error) {
      await writeAll(process.stderr, `Warning: cleaning up failed: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Interruption || (error instanceof Error && error.name === "AbortError");
}

/** Prints a failure where it belongs and sets the process's exit code. */
export async function reportFailure(error: unknown, where: { readonly commandLine: string; readonly json: boolean }): Promise<Failure> {
  const failure = toFailure(error, where.commandLine);
  process.exitCode = failure.exit;
  const debug = Boolean(process.env["CONNITO_DEBUG"]);
  if (where.json) await writeAll(process.stdout, documentText(failureDocument(failure)));
  if (!where.json || debug) await writeAll(process.stderr, failureText(failure, error, debug));
  return failure;
}
