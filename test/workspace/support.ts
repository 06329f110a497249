/** Help for tests of what touches the disk: temporary directories, scripts as processes of their own, a disk that is full. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { ConnitoError } from "../../src/errors.ts";

/** A fresh directory for one test, removed after `work`. */
export async function inTemporaryDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await fs.mkdtemp(join(tmpdir(), "connito-test-"));
  try {
    return await work(directory);
  } finally {
    await fs.rm(directory, { recursive: true, force: true });
  }
}

/** Asserts that `promise` fails with a ConnitoError of that code, and returns it. */
export async function failsWith(code: string, promise: Promise<unknown>): Promise<ConnitoError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(outcome instanceof ConnitoError, `expected ${code}, got ${outcome}`);
  assert.equal(outcome.code, code);
  return outcome;
}

export interface Script {
  readonly process: ChildProcess;
  /** The next line the script prints, or undefined once it has ended. */
  line(): Promise<string | undefined>;
  /** All lines that are still to come. */
  rest(): Promise<string[]>;
  ended(): Promise<void>;
  kill(): Promise<void>;
}

/** Runs a TypeScript file of `scripts/` beside this one as a process of its own. */
export function runScript(name: string, ...args: string[]): Script {
  const file = fileURLToPath(new URL(`scripts/${name}`, import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", file, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const gone = once(child, "exit");
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const line = async (): Promise<string | undefined> => {
    const { value, done } = await lines.next();
    return done ? undefined : (value as string);
  };
  return {
    process: child,
    line,
    async rest() {
      const all: string[] = [];
      for (let next = await line(); next !== undefined; next = await line()) all.push(next);
      return all;
    },
    async ended() {
      await gone;
    },
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

interface Handle {
  write(...args: unknown[]): Promise<{ bytesWritten: number }>;
  sync(): Promise<void>;
  datasync(): Promise<void>;
}

async function handlePrototype(): Promise<Handle> {
  const handle = await fs.open(fileURLToPath(import.meta.url), "r");
  await handle.close();
  return Object.getPrototypeOf(handle) as Handle;
}

/** While `work` runs, writes succeed for `room` bytes (the last one in part, as a real disk does) and then answer ENOSPC. */
export async function onFullDisk<T>(room: number, work: () => Promise<T>): Promise<T> {
  const prototype = await handlePrototype();
  const { write } = prototype;
  let left = room;
  prototype.write = async function (this: Handle, buffer: unknown, offset: unknown, length: unknown, position: unknown) {
    if (left === 0)
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", errno: -28, syscall: "write" });
    const part = Math.min(left, length as number);
    left -= part;
    return write.call(this, buffer, offset, part, position);
  };
  try {
    return await work();
  } finally {
    prototype.write = write;
  }
}

/** What `work` asked of the disk, in order: "write NAME", "sync NAME", "rename NAME". Random parts of names are cut out. */
export async function traceDisk(work: () => Promise<unknown>): Promise<string[]> {
  const prototype = await handlePrototype();
  const { write, sync, datasync } = prototype;
  const { open, rename, link } = fs;
  const names = new WeakMap<object, string>();
  const trace: string[] = [];
  const plain = (path: unknown): string => basename(String(path)).replace(/[0-9a-f]{12}/, "*");
  const patched = fs as unknown as Record<string, unknown>;
  patched.open = async (...args: Parameters<typeof open>) => {
    const handle = await open(...args);
    names.set(handle, plain(args[0]));
    return handle;
  };
  patched.rename = async (...args: Parameters<typeof rename>) => {
    await rename(...args);
    trace.push(`rename ${plain(args[1])}`);
  };
  patched.link = async (...args: Parameters<typeof link>) => {
    await link(...args);
    trace.push(`link ${plain(args[1])}`);
  };
  prototype.write = function (this: Handle, ...args) {
    trace.push(`write ${names.get(this)}`);
    return write.apply(this, args);
  };
  prototype.sync = async function (this: Handle) {
    await sync.call(this);
    trace.push(`sync ${names.get(this)}`);
  };
  prototype.datasync = async function (this: Handle) {
    await datasync.call(this);
    trace.push(`sync ${names.get(this)}`);
  };
  syncBuiltinESMExports();
  try {
    await work();
  } finally {
    Object.assign(prototype, { write, sync, datasync });
    Object.assign(fs, { open, rename, link });
    syncBuiltinESMExports();
  }
  return trace;
}

/** While `work` runs, `meanwhile` is called once, just before the first link to a path that holds `part`: another process's turn. */
export async function beforeLink<T>(part: string, meanwhile: () => Promise<unknown>, work: () => Promise<T>): Promise<T> {
  const { link } = fs;
  let due = true;
  (fs as unknown as Record<string, unknown>).link = async (from: string, to: string) => {
    if (due && to.includes(part)) {
      due = false;
      await meanwhile();
    }
    return link(from, to);
  };
  syncBuiltinESMExports();
  try {
    return await work();
  } finally {
    Object.assign(fs, { link });
    syncBuiltinESMExports();
  }
}

/** While `work` runs, `meanwhile` is called once, just after `path` was looked for and not found: another process's turn. */
export async function afterMiss<T>(path: string, meanwhile: () => Promise<unknown>, work: () => Promise<T>): Promise<T> {
  const { stat } = fs;
  let due = true;
  (fs as unknown as Record<string, unknown>).stat = async (looked: string) => {
    try {
      return await stat(looked);
    } catch (error) {
      if (due && looked === path) {
        due = false;
        await meanwhile();
      }
      throw error;
    }
  };
  syncBuiltinESMExports();
  try {
    return await work();
  } finally {
    Object.assign(fs, { stat });
    syncBuiltinESMExports();
  }
}
