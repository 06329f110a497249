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
  /** Resolves when stderr holds the text. */
  says(text: string): Promise<void>;
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
  const waiting = new Set<() => void>();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    for (const look of [...waiting]) look();
  });
  const says = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!stderr.includes(text)) return;
        waiting.delete(look);
        resolve();
      };
      child.on("close", () => reject(new Error(`The process ended before it said ${text}: ${stderr}`)));
      waiting.add(look);
      look();
    });
  // A process that never reads its stdin may be gone before the input is written.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, ended, says };
}

/** Runs `connito` as it is installed, its results checked against the commands' schemas. */
export function connito(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  return startConnito(args, options).ended;
}

export function startConnito(args: readonly string[], { env, ...rest }: StartOptions = {}): Started {
  return start(["bin/run.js", ...args], { ...rest, env: { CONNITO_CHECK_RESULTS: "1", ...env } });
}
