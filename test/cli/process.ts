/** Commands as real processes, with an environment that holds nothing of the machine's own settings, no terminal and a closed stdin. */

import { type ChildProcess, spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** What stdin holds; without it stdin is empty. */
  readonly input?: string;
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves with the first whole line of stdout. */
  readonly firstLine: Promise<string>;
}

export const repository = fileURLToPath(new URL("../..", import.meta.url));

export function start(args: readonly string[], { env = {}, input = "" }: StartOptions = {}): Started {
  const child = spawn(process.execPath, args, {
    cwd: repository,
    env: { PATH: process.env["PATH"] ?? "", HOME: tmpdir(), ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  const firstLine = new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      const end = stdout.indexOf("\n");
      if (end !== -1) resolve(stdout.slice(0, end));
    });
    child.on("close", () => reject(new Error(`The process ended before it printed a line: ${stderr}`)));
  });
  firstLine.catch(() => {});
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  // A process that never reads its stdin may be gone before the input is written.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, ended, firstLine };
}

/** Runs `connito` as it is installed, its results checked against the commands' schemas. */
export function connito(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  return startConnito(args, options).ended;
}

export function startConnito(args: readonly string[], { env, ...rest }: StartOptions = {}): Started {
  return start(["bin/run.js", ...args], { ...rest, env: { CONNITO_CHECK_RESULTS: "1", ...env } });
}
