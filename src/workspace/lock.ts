/**
 * One process works in a state directory at a time. The lock is a file that names its owner; it is created by `link`, which one process
 * alone can win, and it needs no cleaning up: a lock whose owner died (SIGKILL, reboot) is taken over at once.
 *
 * Alive means: on this boot and in this process namespace a process with that id and that start time, so a reused process id locks
 * nobody out. Where that cannot be seen (another container or host on the same volume, an operating system without /proc) the owner's
 * heartbeat decides: it touches the file every ten seconds, and after a minute of silence it counts as gone.
 *
 * Taking over must not race: two processes see the same dead lock, one replaces it, and the other removes the new one. So a taker first
 * creates, again by `link`, a claim named by the dead lock's content, then looks again: only if the lock is still the dead one does the
 * claim hold. Claims are removed by the new owner after its lock is in place; whoever claims later finds the lock changed and gives way.
 * A taker that dies between claim and lock is itself dead in the chain, and is succeeded in the same way.
 */
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { link, lstat, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { ConnitoError } from "../errors.ts";
import { isMissing, onStorage } from "../files/errors.ts";
import { readWhole } from "../files/reading.ts";
import { writeAll } from "../files/replacing.ts";

const heartbeatMilliseconds = 10_000;
const silenceMilliseconds = 60_000;
const maximumBytes = 4096;

export interface Lock {
  /** Gives the lock back. Harmless when called twice, or when the lock is no longer ours. */
  release(): Promise<void>;
}

interface Owner {
  readonly pid: number;
  /** Clock ticks from boot to the start of the process, as /proc has it; empty where there is no /proc. */
  readonly started: string;
  readonly boot: string;
  readonly namespace: string;
  readonly host: string;
  readonly token: string;
}

/** Takes the lock at `path`, or throws `state-locked` naming the process that has it. Never waits. */
export async function acquireLock(path: string): Promise<Lock> {
  return onStorage(path, async () => {
    const content = JSON.stringify(thisProcess());
    const own = join(dirname(path), `.lock.${randomBytes(6).toString("hex")}.tmp`);
    const handle = await open(own, "wx", 0o600);
    try {
      try {
        await writeAll(handle, Buffer.from(content));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await win(path, own);
    } finally {
      await rm(own, { force: true });
    }
    const lock = hold(path, content);
    try {
      await removeClaims(path);
    } catch (error) {
      // Whoever is given no lock cannot give it back, and this process would keep itself out as long as it lives.
      await lock.release().catch(() => undefined);
      throw error;
    }
    return lock;
  });
}

/** Returns once `path` is the file `own`; throws state-locked where a living process has it. */
async function win(path: string, own: string): Promise<void> {
  for (;;) {
    if (await tryLink(own, path)) return;
    const dead = await readOwner(path);
    if (dead === undefined) continue;
    // Walk from the lock along the claims of dead takers to the first that is alive or not claimed yet.
    let last = dead;
    for (;;) {
      if (await isAlive(last)) throw locked(path, last);
      const claim = claimPath(path, last.content);
      if (await tryLink(own, claim)) {
        const now = await readOwner(path);
        if (now?.content === dead.content) return await rename(own, path);
        await rm(claim, { force: true });
        break;
      }
      const next = await readOwner(claim);
      if (next === undefined) break;
      last = next;
    }
  }
}

function hold(path: string, content: string): Lock {
  const beat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, heartbeatMilliseconds);
  beat.unref();
  return {
    async release() {
      clearInterval(beat);
      const current = await readOwner(path);
      if (current?.content === content) await rm(path, { force: true });
    },
  };
}

interface Found {
  readonly content: string;
  readonly owner: Owner | undefined;
  readonly touched: number;
}

async function readOwner(path: string): Promise<Found | undefined> {
  try {
    // One that leads nowhere would be in the way and yet never there.
    if ((await lstat(path)).isSymbolicLink()) throw irregular(path);
    const content = Buffer.from(await readWhole(path, maximumBytes)).toString("utf8");
    const { mtimeMs } = await stat(path);
    return { content, owner: parseOwner(content), touched: mtimeMs };
  } catch (error) {
    if (isMissing(error) || (error instanceof ConnitoError && error.code === "file-missing")) return undefined;
    throw error;
  }
}

function parseOwner(content: string): Owner | undefined {
  try {
    const value = JSON.parse(content) as Partial<Owner> | null;
    const texts = [value?.started, value?.boot, value?.namespace, value?.host, value?.token];
    if (!Number.isSafeInteger(value?.pid) || (value?.pid ?? 0) < 1 || texts.some((text) => typeof text !== "string")) return undefined;
    return value as Owner;
  } catch {
    return undefined;
  }
}

async function isAlive({ owner, touched }: Found): Promise<boolean> {
  const beating = Date.now() - touched < silenceMilliseconds;
  if (owner === undefined) return beating;
  const here = thisProcess();
  if (owner.boot !== here.boot && owner.host === here.host) return false;
  if (owner.boot !== here.boot || owner.namespace !== here.namespace || owner.host !== here.host) return beating;
  if (!exists(owner.pid)) return false;
  const started = startOf(owner.pid);
  if (started === "dead") return false;
  if (started === "" || owner.started === "") return beating;
  return started === owner.started;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there, and it is another user's.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Start time of a process; "dead" for one that is gone but not yet reaped; empty where it cannot be told. */
function startOf(pid: number): string {
  const text = readText(`/proc/${pid}/stat`);
  // The second field is the command in parentheses and may itself hold spaces and parentheses: count from the last one.
  const after = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (after[0] === "Z" || after[0] === "X") return "dead";
  return after[19] ?? "";
}

function thisProcess(): Owner {
  let namespace = "";
  try {
    namespace = readlinkSync("/proc/self/ns/pid");
  } catch {
    // Not Linux: one namespace.
  }
  return {
    pid: process.pid,
    started: startOf(process.pid),
    boot: readText("/proc/sys/kernel/random/boot_id").trim(),
    namespace,
    host: hostname(),
    token: randomBytes(8).toString("hex"),
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function claimPath(path: string, content: string): string {
  return `${path}.after.${createHash("sha256").update(content).digest("hex").slice(0, 32)}`;
}

/** Only the living owner calls this: any claim it sees is void, since whoever made it will find the lock changed. */
async function removeClaims(path: string): Promise<void> {
  const prefix = `${basename(path)}.after.`;
  for (const name of await readdir(dirname(path))) {
    if (name.startsWith(prefix)) await rm(join(dirname(path), name), { force: true });
  }
}

function irregular(path: string): ConnitoError {
  return new ConnitoError(`${path} is a link`, { code: "file-irregular", exit: "invalidInput", hint: "Remove it: a lock is a file." });
}

function locked(path: string, { owner }: Found): ConnitoError {
  const who = owner === undefined ? "another process" : `process ${owner.pid}${owner.host === hostname() ? "" : ` on ${owner.host}`}`;
  return new ConnitoError(`${dirname(path)} is in use by ${who}`, {
    code: "state-locked",
    exit: "locked",
    hint: "Stop that process first, or give this one its own --state-dir. After a crash nothing needs to be removed by hand.",
    retryable: true,
  });
}
