/**
 * The process: finds the command, runs it, and ends with its exit code. What goes wrong outside of a command (no such command, a
 * fault at start-up, an error that nobody waited for) is reported in the same form as what goes wrong inside one.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Config, settings } from "@oclif/core";
import { normalizeArgv } from "@oclif/core/help";
import { helpAddition, run, versionAddition } from "@oclif/core/run";
import { ConnitoError } from "../errors.ts";
import { reportFailure } from "./base-command.ts";
import { writeAll } from "./output.ts";
import { canAsk } from "./prompts.ts";

export interface MainOptions {
  /** The package's directory. */
  readonly root: URL;
  /** Find commands among the TypeScript sources, without the manifest. The process must have a loader for them. */
  readonly fromSources?: boolean;
  readonly argv?: readonly string[];
}

export async function main({ root, fromSources = false, argv = process.argv.slice(2) }: MainOptions): Promise<void> {
  prepareProcess(argv);
  const config = await loadConfig(fileURLToPath(root), fromSources);
  try {
    refuseUnknownCommand(config, argv);
    await run([...argv], config);
  } catch (error) {
    if (isExit(error)) process.exitCode = error.oclif.exit;
    else await reportFailure(isNotFound(error) ? unknownCommand(config, argv) : error, { commandLine: config.bin, json: wantsJson(argv) });
  }
  // A socket that nobody closed must not keep a script waiting for ever once the result is out.
  await Promise.all([writeAll(process.stdout, ""), writeAll(process.stderr, "")]);
  process.exit();
}

/** oclif's configuration, without its own ways of finding sources, which do not know this repository's layout. */
export async function loadConfig(root: string, fromSources: boolean): Promise<Config> {
  settings.enableAutoTranspile = false;
  if (!fromSources) return Config.load({ root });
  // With src/ as its root, oclif finds no manifest, which would send it to the built files, and looks among the sources.
  const pjson = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return Config.load({ root: join(root, "src"), pjson: { ...pjson, oclif: { ...pjson.oclif, commands: "./commands" } } });
}

function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return (end === -1 ? argv : argv.slice(0, end)).includes("--json");
}

function prepareProcess(argv: readonly string[]): void {
  // chalk, under ora, does not know NO_COLOR. Node says so aloud where both are set, except for "0".
  if (process.env["NO_COLOR"] || process.env["TERM"] === "dumb") process.env["FORCE_COLOR"] = "0";
  const die = (error: unknown) => {
    void reportFailure(error, { commandLine: "connito", json: wantsJson(argv) }).finally(() => process.exit());
  };
  // A reader that went away is no fault of the work: without a listener every line of progress would be an uncaught exception, and the
  // report of that another one, without end. What must not be lost is written by writeAll, which looks for itself.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  process.on("uncaughtException", die);
  process.on("unhandledRejection", die);
}

function isExit(error: unknown): error is { oclif: { exit: number } } {
  return error instanceof Error && "code" in error && error.code === "EEXIT";
}

/** What oclif's plugin throws when the answer to "did you mean ...?" was no; nothing else ends with this code. */
function isNotFound(error: unknown): boolean {
  return error instanceof Error && "oclif" in error && (error.oclif as { exit?: number }).exit === 127;
}

/**
 * Where nobody can be asked "did you mean ...?", an unknown command is a usage error like any other; oclif's plugin would exit with 127
 * and print no document.
 */
function refuseUnknownCommand(config: Config, argv: readonly string[]): void {
  if (versionAddition([...argv], config) || helpAddition([...argv], config)) return;
  const [id = ""] = normalizeArgv(config, [...argv]);
  if (config.findCommand(id) !== undefined || config.findTopic(id) !== undefined) return;
  if (!canAsk({ noInput: argv.includes("--no-input"), json: wantsJson(argv) })) throw unknownCommand(config, argv);
}

function unknownCommand(config: Config, argv: readonly string[]): ConnitoError {
  const [id = ""] = normalizeArgv(config, [...argv]);
  const typed = id.replaceAll(":", " ");
  return new ConnitoError(`${typed} is not a ${config.bin} command.`, {
    code: "unknown-command",
    exit: "usage",
    hint: `${suggestion(config, typed)}\`${config.bin} help\` lists them.`,
  });
}

function suggestion(config: Config, typed: string): string {
  const names = config.commands.filter(({ hidden }) => !hidden).map(({ id }) => id.replaceAll(":", " "));
  const [closest] = names.map((name) => ({ name, distance: editDistance(typed, name) })).sort((a, b) => a.distance - b.distance);
  return closest !== undefined && closest.distance <= Math.max(2, typed.length / 3)
    ? `Did you mean \`${config.bin} ${closest.name}\`? `
    : "";
}

/** Levenshtein distance. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next[j] = Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
