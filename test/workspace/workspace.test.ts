import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openWorkspace } from "../../src/workspace/workspace.ts";
import { failsWith, inTemporaryDirectory, onFullDisk, runScript } from "./support.ts";

const run = promisify(execFile);

describe("workspace", () => {
  it("makes a directory for its owner only, and is locked to others until closed", () =>
    inTemporaryDirectory(async (parent) => {
      const directory = join(parent, "a", "state");
      const workspace = await openWorkspace(directory, { lock: true });
      assert.equal((await stat(directory)).mode & 0o777, 0o700);
      await failsWith("state-locked", openWorkspace(directory, { lock: true }));
      await workspace.journal.intent("a", 1);
      const reader = await openWorkspace(directory, { lock: false });
      assert.equal(reader.journal.entries().length, 1);
      await failsWith("state-read-only", reader.objects.put(new Uint8Array(1)));
      await failsWith(
        "state-read-only",
        reader.secret("salt", () => new Uint8Array(1)),
      );
      await reader.close();
      await workspace.close();
      await (await openWorkspace(directory, { lock: true })).close();
    }));

  it("does not look like a workspace before it is one", () =>
    inTemporaryDirectory(async (parent) => {
      const error = await failsWith("state-not-initialised", openWorkspace(join(parent, "none"), { lock: false }));
      assert.equal(error.exit, 10);
      await failsWith("state-not-initialised", openWorkspace(join(parent, "none"), { lock: true, create: false }));
      await failsWith("state-not-initialised", openWorkspace(parent, { lock: false }));
      assert.deepEqual(await readdir(parent), []);
    }));

  it("leaves a directory alone that is somebody else's", () =>
    inTemporaryDirectory(async (parent) => {
      await mkdir(join(parent, "home"), { mode: 0o755 });
      await writeFile(join(parent, "home", "letter.txt"), "dear");
      await failsWith("state-foreign", openWorkspace(join(parent, "home"), { lock: true }));
      assert.deepEqual(await readdir(join(parent, "home")), ["letter.txt"]);
      assert.equal((await stat(join(parent, "home"))).mode & 0o777, 0o755);
    }));

  it("refuses a format it does not know and a journal that was taken away, and gives the lock back", () =>
    inTemporaryDirectory(async (directory) => {
      const workspace = await openWorkspace(directory, { lock: true });
      await workspace.close();
      await rm(workspace.layout.journal);
      await failsWith("journal-corrupt", openWorkspace(directory, { lock: true }));
      await writeFile(workspace.layout.marker, '{"format":"connito/state/99"}');
      await failsWith("state-format", openWorkspace(directory, { lock: true }));
      assert.deepEqual(await readdir(directory), ["state.json"]);
    }));

  it("goes on after being killed at any moment of its making", () =>
    inTemporaryDirectory(async (directory) => {
      await writeFile(join(directory, "journal.jsonl"), "");
      await writeFile(join(directory, ".state.json.0123456789ab.tmp"), "{");
      const workspace = await openWorkspace(directory, { lock: true });
      assert.deepEqual((await readdir(directory)).sort(), ["journal.jsonl", "lock", "state.json"]);
      await workspace.close();
    }));

  it("keeps downloads under way, and no others, for the next who opens it", () =>
    inTemporaryDirectory(async (directory) => {
      const workspace = await openWorkspace(directory, { lock: true });
      const here = await workspace.objects.put(Uint8Array.of(1));
      const wanted = "a".repeat(64);
      await mkdir(workspace.layout.partial);
      for (const name of [`${here}.partial`, here, `${wanted}.partial`]) await writeFile(join(workspace.layout.partial, name), "");
      await workspace.close();
      const again = await openWorkspace(directory, { lock: true });
      assert.deepEqual(await readdir(again.layout.partial), [`${wanted}.partial`]);
      await again.close();
    }));

  it("makes a secret once, keeps it to its owner, and gives every caller the same", () =>
    inTemporaryDirectory(async (directory) => {
      const workspace = await openWorkspace(directory, { lock: true });
      let made = 0;
      const make = (): Uint8Array => Uint8Array.of(++made, 2, 3);
      const [first, second] = await Promise.all([workspace.secret("salt-1", make), workspace.secret("salt-1", make)]);
      assert.deepEqual(first, Uint8Array.of(1, 2, 3));
      assert.deepEqual(Uint8Array.from(second), first);
      assert.equal((await stat(workspace.layout.secret("salt-1"))).mode & 0o777, 0o600);
      assert.equal((await stat(workspace.layout.secrets)).mode & 0o777, 0o700);
      await failsWith(
        "disk-full",
        onFullDisk(1, () => workspace.secret("salt-2", make)),
      );
      assert.equal(await workspace.findSecret("salt-2"), undefined);
      await workspace.close();
      const again = await openWorkspace(directory, { lock: true });
      assert.deepEqual(Uint8Array.from(await again.secret("salt-1", make)), first);
      await again.close();
    }));

  it("builds paths from hashes and plain names only", () =>
    inTemporaryDirectory(async (directory) => {
      const { layout, close } = await openWorkspace(directory, { lock: true });
      for (const bad of ["../x", "a/b", "", ".", "..", ".hidden", "a\0", "x".repeat(200)]) {
        assert.throws(() => layout.secret(bad), { code: "name-unfit" });
        assert.throws(() => layout.cycle(1, bad), { code: "name-unfit" });
        assert.throws(() => layout.object(bad), { code: "name-unfit" });
      }
      for (const bad of [-1, 1.5, Number.NaN]) assert.throws(() => layout.cycle(bad), { code: "name-unfit" });
      assert.equal(layout.cycle(3, "assignment.json"), join(directory, "cycles", "3", "assignment.json"));
      await close();
    }));

  it("keeps whole objects and no litter when its process is killed while writing", () =>
    inTemporaryDirectory(async (directory) => {
      const kept: string[] = [];
      for (let round = 0; round < 3; round++) {
        const writer = runScript("put-objects.ts", directory);
        assert.equal(await writer.line(), "open");
        for (let count = 0; count < 3 + round; count++) kept.push((await writer.line()) as string);
        await writer.kill();
      }
      const workspace = await openWorkspace(directory, { lock: true });
      for (const hash of kept) assert.equal((await workspace.objects.read(hash)).length, 1 << 18);
      const names = await readdir(workspace.layout.objects, { recursive: true });
      for (const name of names) assert.doesNotMatch(name, /\.tmp$/);
      await workspace.close();
    }));

  it("meets a disk that is really full", async function () {
    const script = fileURLToPath(new URL("scripts/fill-disk.ts", import.meta.url));
    await inTemporaryDirectory(async (directory) => {
      const shell = 'mount -t tmpfs -o size=320k,mode=700 none "$1" && shift && exec "$@"';
      const inNamespace = ["-rm", "sh", "-c", shell, "sh", directory];
      const possible = await run("unshare", [...inNamespace, "true"]).then(
        () => true,
        () => false,
      );
      if (!possible) return this.skip();
      const { stdout } = await run("unshare", [...inNamespace, process.execPath, "--import", "tsx", script, directory]);
      assert.deepEqual(stdout.trim().split("\n"), [
        "put disk-full true",
        "journal disk-full true",
        "left 0",
        "put done",
        "journal done",
        "before after",
      ]);
    });
  });
});
