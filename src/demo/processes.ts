/**
 * The demo's processes: each runs this same command line, writes its progress as JSON lines to a log, and can be killed and started again
 * at any moment. Nothing outlives the demo.
 */

import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ResultPromise } from "execa";
import { ConnitoError } from "../errors.ts";

const program = fileURLToPath(new URL("../../bin/run.js", import.meta.url));

/** A line that a process wrote to stderr, where it was JSON. */
export type ProcessEvent = { readonly event: string } & Readonly<Record<string, unknown>>;

export interface ProcessOptions {
  readonly name: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly log: string;
  readonly onEvent?: (event: ProcessEvent) => void;
}

export interface ManagedProcess {
  readonly name: string;
  /** Resolves with the document on stdout when the process ends by itself. @throws demo-process-failed */
  readonly done: Promise<Record<string, unknown>>;
  /** Kills it (SIGKILL) and starts it again with the same arguments. */
  restart(): void;
  /** Asks it to end (SIGTERM) and waits until it has. */
  stop(): Promise<void>;
}

type Child = ResultPromise<{ reject: false; stdout: "pipe"; stderr: "pipe" }>;

/** Runs one command to its end and returns its document. @throws demo-process-failed */
export async function runCommand(options: ProcessOptions, signal: AbortSignal): Promise<Record<string, unknown>> {
  const managed = await startProcess(options);
  const stop = () => void managed.stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await managed.done;
  } finally {
    signal.removeEventListener("abort", stop);
    signal.throwIfAborted();
  }
}

/** Starts a process that goes on beside the demo. */
export async function startProcess({ name, args, env, log, onEvent }: ProcessOptions): Promise<ManagedProcess> {
  const { execa } = await import("execa");
  const output = createWriteStream(log, { flags: "a" });
  let restarting = false;
  let stopping = false;
  let child: Child;

  const launch = (): Child => {
    const started = execa(process.execPath, [program, ...args, "--json", "--no-input"], {
      env: { ...env, CONNITO_PROGRESS: "json" },
      reject: false,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      // A demo that is killed takes its processes with it.
      cleanup: true,
      forceKillAfterDelay: 10_000,
    }) as unknown as Child;
    createInterface({ input: started.stderr }).on("line", (line) => {
      output.write(`${line}\n`);
      const event = parseEvent(line);
      if (event !== undefined) onEvent?.(event);
    });
    return started;
  };

  const supervise = async (): Promise<Record<string, unknown>> => {
    for (;;) {
      const { exitCode, stdout, signal } = await child;
      output.write(stdout === "" ? "" : `${stdout}\n`);
      if (restarting) {
        restarting = false;
        child = launch();
        continue;
      }
      if (exitCode === 0 || stopping)
        return stdout === "" ? {} : (JSON.parse(stdout.slice(stdout.indexOf("{"))) as Record<string, unknown>);
      throw failed(name, log, exitCode, signal, stdout);
    }
  };

  child = launch();
  const done = supervise().finally(() => output.end());
  // Watched by whoever awaits it; a failure while nobody does must not end the demo without a word.
  done.catch(() => undefined);
  return {
    name,
    done,
    restart() {
      if (child.exitCode !== null || stopping) return;
      restarting = true;
      child.kill("SIGKILL");
    },
    async stop() {
      stopping = true;
      child.kill("SIGTERM");
      await done.catch(() => undefined);
    },
  };
}

function parseEvent(line: string): ProcessEvent | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && "event" in value ? (value as ProcessEvent) : undefined;
  } catch {
    return undefined;
  }
}

function failed(name: string, log: string, exitCode: number | undefined, signal: string | undefined, stdout: string): ConnitoError {
  const message = /"message":\s*"((?:[^"\\]|\\.)*)"/.exec(stdout)?.[1];
  return new ConnitoError(`${name} ended with ${signal ?? `exit code ${exitCode}`}${message === undefined ? "" : `: ${message}`}`, {
    code: "demo-process-failed",
    exit: "unexpected",
    hint: `Its log is ${log}.`,
  });
}
