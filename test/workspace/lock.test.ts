import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, rmdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { acquireLock, type Lock } from "../../src/workspace/lock.ts";
import { beforeLink, failsWith, inTemporaryDirectory, runScript } from "./support.ts";

const linux = process.platform === "linux";

/** What this process writes as the owner, to be changed into another's. */
async function ownContent(directory: string): Promise<Record<string, unknown>> {
  const path = join(directory, "sample");
  const lock = await acquireLock(path);
  const content = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
  await lock.release();
  return content;
}

async function longAgo(path: string): Promise<void> {
  const then = new Date(Date.now() - 3_600_000);
  await utimes(path, then, then);
}

async function countWinners(path: string, attempts: number): Promise<Lock[]> {
  const outcomes = await Promise.allSettled(Array.from({ length: attempts }, () => acquireLock(path)));
  return outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
}

describe("lock", () => {
  it("is refused to a second process, naming the first, and taken over at once when that is killed", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "lock");
      const holder = runScript("hold-lock.ts", path);
      assert.equal(await holder.line(), "held");
      const error = await failsWith("state-locked", acquireLock(path));
      assert.equal(error.exit, 11);
      assert.match(error.message, new RegExp(`process ${holder.process.pid}\\b`));
      const second = runScript("hold-lock.ts", path);
      assert.match((await second.line()) ?? "", /^state-locked/);
      await second.ended();
      await holder.kill();
      const lock = await acquireLock(path);
      await lock.release();
      assert.deepEqual(await readdir(directory), []);
    }));

  it("is free again after release, and release does not take another's lock away", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "lock");
      const first = await acquireLock(path);
      await failsWith("state-locked", acquireLock(path));
      await first.release();
      const second = await acquireLock(path);
      await first.release();
      await failsWith("state-locked", acquireLock(path));
      await second.release();
    }));

  it("does not take a reused process id, or a process before a reboot, for the owner", async function () {
    if (!linux) this.skip();
    await inTemporaryDirectory(async (directory) => {
      const path = join(directory, "lock");
      const own = await ownContent(directory);
      await writeFile(path, JSON.stringify(own));
      await failsWith("state-locked", acquireLock(path));
      for (const change of [{ started: "1" }, { boot: "another" }, { pid: 2 ** 22 + 1 }]) {
        await writeFile(path, JSON.stringify({ ...own, ...change }));
        const lock = await acquireLock(path);
        await lock.release();
      }
    });
  });

  it("lets the heartbeat decide where the owner cannot be seen", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "lock");
      const own = await ownContent(directory);
      const unseen = [
        JSON.stringify({ ...own, host: "elsewhere", boot: "another" }),
        JSON.stringify({ ...own, namespace: "pid:[1]" }),
        "",
        "{",
      ];
      for (const content of unseen) {
        await writeFile(path, content);
        await failsWith("state-locked", acquireLock(path));
        await longAgo(path);
        const lock = await acquireLock(path);
        await lock.release();
      }
    }));

  it("is not kept by a process that could not remove the claims", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "lock");
      const claim = `${path}.after.something`;
      await mkdir(claim);
      await failsWith("storage-failed", acquireLock(path));
      assert.deepEqual(await readdir(directory), ["lock.after.something"]);
      await rmdir(claim);
      await (await acquireLock(path)).release();
    }));

  it("says what is in the way where it can be no lock", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "lock");
      await symlink(join(directory, "nowhere"), path);
      await failsWith("file-irregular", acquireLock(path));
      await rm(path);
      execFileSync("mkfifo", [path]);
      await failsWith("file-irregular", acquireLock(path));
    }));

  it("has one winner among many that find it free or dead, or find a taker dead half-way", async function () {
    if (!linux) this.skip();
    await inTemporaryDirectory(async (directory) => {
      const path = join(directory, "lock");
      const own = await ownContent(directory);
      const dead = JSON.stringify({ ...own, started: "1" });
      const claim = `${path}.after.${createHash("sha256").update(dead).digest("hex").slice(0, 32)}`;
      for (let round = 0; round < 20; round++) {
        if (round % 3 > 0) await writeFile(path, dead);
        if (round % 3 > 1) await writeFile(claim, JSON.stringify({ ...own, started: "2" }));
        const winners = await countWinners(path, 10);
        assert.equal(winners.length, 1);
        await failsWith("state-locked", acquireLock(path));
        await winners[0]?.release();
      }
      const lock = await acquireLock(path);
      assert.deepEqual(await readdir(directory), ["lock"]);
      await lock.release();
    });
  });

  it("gives way when another took the dead lock over between the look and the claim", async function () {
    if (!linux) this.skip();
    await inTemporaryDirectory(async (directory) => {
      const path = join(directory, "lock");
      await writeFile(path, JSON.stringify({ ...(await ownContent(directory)), started: "1" }));
      let faster: Lock | undefined;
      const takeOver = async (): Promise<void> => {
        faster = await acquireLock(path);
      };
      await failsWith(
        "state-locked",
        beforeLink(".after.", takeOver, () => acquireLock(path)),
      );
      assert.deepEqual(await readdir(directory), ["lock"]);
      await faster?.release();
    });
  });

  it("keeps processes that come, go and are killed out of each other's way", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "lock");
      const scripts = [40, 60, 80].map((rounds) => runScript("contend-lock.ts", path, join(directory, "mark"), String(rounds)));
      for (const script of scripts) assert.deepEqual(await script.rest(), ["done"]);
      await Promise.all(scripts.map((script) => script.ended()));
      await (await acquireLock(path)).release();
    }));
});
