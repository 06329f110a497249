/**
 * Runs an operator's program beside this process, in a process group of its own, and never longer than it is wanted. What it prints is
 * read as it comes and not kept: lines on stdout go to the caller, the end of stderr is shown where it fails. It gets no secrets: settings of
 * connito and of wallets are taken out of its environment.
 */
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import type { ResultPromise } from "execa";
import { ConnitoError } from "../errors.ts";

export interface ProgramOptions {
  /** Program and arguments. */
  readonly command: readonly string[];
  readonly onLine: (line: string) => void;
  /** Asks it to save and finish: SIGTERM, and SIGKILL for the whole group when the grace is over. */
  readonly finish: AbortSignal;
  readonly graceSeconds: number;
  /** Without a line for so long it is taken for dead and killed. */
  readonly silenceSeconds: number;
}

export interface Ending {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** Why it was killed. */
  readonly killed?: "silent" | "late" | "flood";
  /** The last that it wrote to stderr. */
  readonly complaint: string;
}

/** Longer lines are dropped, as is all beyond so many bytes, with the program: it says nothing that anybody can use. */
const maximumLineBytes = 65_536;
const maximumOutputBytes = 2 ** 28;
const complaintBytes = 4096;

/**
 * For whoever names a program now that will be run much later: is there one of that name that may be run?
 * @throws program-not-started
 */
export async function requireProgram([file = ""]: readonly string[]): Promise<void> {
  const places = file.includes("/") ? [file] : (process.env["PATH"] ?? "").split(delimiter).map((directory) => join(directory, file));
  for (const place of places) {
    const runnable = await access(place, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runnable) return;
  }
  throw notStarted(file, "ENOENT");
}

/** @throws program-not-started where there is no such program, or no right to run it */
export async function runProgram(options: ProgramOptions): Promise<Ending> {
  const { command, onLine, finish, graceSeconds, silenceSeconds } = options;
  const [file = "", ...args] = command;
  const { execa } = await import("execa");
  const child = execa(file, args, {
    env: withoutSecrets(process.env),
    extendEnv: false,
    // Its own group, so that what it started ends with it.
    detached: true,
    reject: false,
    buffer: false,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  }) as unknown as ResultPromise<{ reject: false; buffer: false; stdout: "pipe"; stderr: "pipe" }>;

  let killed: Ending["killed"];
  const send = (name: "SIGTERM" | "SIGKILL") => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  };
  const kill = (reason: Ending["killed"]) => {
    killed ??= reason;
    send("SIGKILL");
  };

  let silence = setTimeout(() => kill("silent"), 1000 * silenceSeconds);
  let grace: NodeJS.Timeout | undefined;
  const ask = () => {
    send("SIGTERM");
    grace = setTimeout(() => kill("late"), 1000 * graceSeconds);
  };
  finish.addEventListener("abort", ask, { once: true });
  if (finish.aborted) ask();

  let received = 0;
  const lines = lineSplitter((line) => {
    clearTimeout(silence);
    silence = setTimeout(() => kill("silent"), 1000 * silenceSeconds);
    onLine(line);
  });
  child.stdout.on("data", (chunk: Buffer) => {
    received += chunk.length;
    if (received > maximumOutputBytes) kill("flood");
    else lines(chunk);
  });
  let complaint = Buffer.alloc(0);
  child.stderr.on("data", (chunk: Buffer) => {
    complaint = Buffer.concat([complaint, chunk]).subarray(-complaintBytes);
  });

  try {
    const { exitCode, signal, code } = (await child) as { exitCode?: number; signal?: string; code?: string };
    if (child.pid === undefined) throw notStarted(file, code);
    return { exitCode, signal, ...(killed === undefined ? {} : { killed }), complaint: complaint.toString("utf8").trim() };
  } finally {
    clearTimeout(silence);
    clearTimeout(grace);
    finish.removeEventListener("abort", ask);
    // Whatever it left behind in its group.
    send("SIGKILL");
  }
}

/** Calls `onLine` for each line of the chunks that come, without ever holding more than one. */
function lineSplitter(onLine: (line: string) => void): (chunk: Buffer) => void {
  let held = Buffer.alloc(0);
  let skipping = false;
  return (chunk) => {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const length = held.length + end - start;
      if (!skipping && length <= maximumLineBytes) onLine(Buffer.concat([held, chunk.subarray(start, end)]).toString("utf8"));
      held = Buffer.alloc(0);
      skipping = false;
      start = end + 1;
    }
    if (skipping) return;
    held = Buffer.concat([held, chunk.subarray(start)]);
    if (held.length > maximumLineBytes) {
      held = Buffer.alloc(0);
      skipping = true;
    }
  };
}

function withoutSecrets(environment: NodeJS.ProcessEnv): Record<string, string> {
  const kept = Object.entries(environment).filter(([name]) => !/^(CONNITO|BT)_/.test(name));
  return Object.fromEntries(kept.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** Why a program that was killed was killed, in words. */
const killedBecause = {
  silent: "said nothing for too long and was killed",
  late: "did not end in time after SIGTERM and was killed",
  flood: "printed without end and was killed",
} as const;

/** How a program ended that did not do its work, with the end of what it wrote to stderr. */
export function describeEnding([program]: readonly string[], { exitCode, signal, killed, complaint }: Ending): string {
  const how = killed === undefined ? `ended with ${signal ?? `exit code ${exitCode}`}` : killedBecause[killed];
  return `${program} ${how}${complaint === "" ? "." : `:\n${complaint}`}`;
}

/** Whether its exit code says that running it again can help (75, EX_TEMPFAIL), or the way it died leaves hope. */
export function mayWorkAgain({ exitCode, signal, killed }: Ending): boolean {
  return exitCode === 75 || (signal !== undefined && killed !== "late" && killed !== "flood");
}

function notStarted(file: string, code: string | undefined): ConnitoError {
  const why = code === "ENOENT" ? "there is no such program that may be run" : (code ?? "for no reason that the system names");
  return new ConnitoError(`${file} could not be started: ${why}.`, {
    code: "program-not-started",
    exit: "invalidInput",
    hint: "Give the program and its arguments after `--`, with a path where it is not in PATH.",
  });
}
