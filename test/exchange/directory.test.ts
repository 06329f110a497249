import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { publishToDirectory } from "../../src/exchange/directory.ts";
import { collectBytes, openSource } from "../../src/exchange/exchange.ts";
import { failsWith, inTemporaryDirectory, onFullDisk } from "../workspace/support.ts";
import { hashOf, miner, unusedPath } from "./support.ts";

describe("directory", () => {
  it("is read at the paths it was published to: whole files, ranges of files and bytes", () =>
    inTemporaryDirectory(async (directory) => {
      const shared = join(directory, "shared");
      const bytes = randomBytes(600_000);
      const file = join(directory, "file");
      await writeFile(file, bytes, { mode: 0o600 });
      const inner = bytes.subarray(1000, 400_000);
      const report = `/reports/3/${miner.address}.json`;
      await publishToDirectory(shared, `/objects/${hashOf(bytes)}`, { file });
      await publishToDirectory(shared, `/objects/${hashOf(inner)}`, { file, offset: 1000, bytes: inner.length });
      await publishToDirectory(shared, report, Buffer.from("first"));
      await publishToDirectory(shared, report, Buffer.from("other"));
      const source = openSource(`file:${shared}`);
      const get = async (path: string, offset = 0): Promise<Buffer> =>
        Buffer.from(await collectBytes(await source.get(path, { maximumBytes: 1e6, offset }), 1e6));
      assert.ok((await get(`/objects/${hashOf(bytes)}`)).equals(bytes));
      assert.ok((await get(`/objects/${hashOf(inner)}`)).equals(inner));
      assert.ok((await get(`/objects/${hashOf(bytes)}`, 599_990)).equals(bytes.subarray(599_990)));
      assert.equal((await get(report)).toString(), "other");
      assert.equal((await stat(join(shared, report))).mode & 0o777, 0o644);
      assert.equal((await stat(file)).mode & 0o777, 0o600);
      const published = join(shared, "objects", hashOf(bytes));
      await writeFile(published, "changed by a reader");
      assert.ok((await readFile(file)).equals(bytes), "what is published is not the publisher's own file");
    }));

  it("says what is missing, what is too long, and what has another length", () =>
    inTemporaryDirectory(async (directory) => {
      const path = `/objects/${"a".repeat(64)}`;
      const source = openSource(`file:${directory}`);
      await failsWith("object-not-found", source.get(path, { maximumBytes: 10 }));
      await failsWith("peer-unreachable", openSource(`file:${unusedPath()}`).get(path, { maximumBytes: 10 }));
      await publishToDirectory(directory, path, Buffer.alloc(11));
      await failsWith("object-oversize", source.get(path, { maximumBytes: 10 }));
      await failsWith("object-hash-mismatch", source.get(path, { maximumBytes: 100, expectedBytes: 12 }));
      const longerBefore = await source.get(path, { maximumBytes: 11, offset: 50 });
      assert.equal(longerBefore.offset, 0);
      assert.equal((await collectBytes(longerBefore, 11)).length, 11);
      await assert.rejects(source.get(path, { maximumBytes: 11, signal: AbortSignal.abort(new Error("stop")) }), /stop/);
    }));

  it("reads plain files only, and only at paths of the exchange", async function () {
    if (process.platform === "win32") this.skip();
    await inTemporaryDirectory(async (directory) => {
      await mkdir(join(directory, "objects"));
      const [link, pipe, folder] = ["a", "b", "c"].map((digit) => digit.repeat(64)) as [string, string, string];
      await symlink("/etc/hostname", join(directory, "objects", link));
      execFileSync("mkfifo", [join(directory, "objects", pipe)]);
      await mkdir(join(directory, "objects", folder));
      const source = openSource(`file:${directory}`);
      for (const hash of [link, pipe, folder]) await failsWith("request-refused", source.get(`/objects/${hash}`, { maximumBytes: 10 }));
      await writeFile(join(directory, "secret"), "x");
      for (const path of ["/secret", "/objects/../secret", "secret"])
        await failsWith("object-not-found", source.get(path, { maximumBytes: 10 }));
      await failsWith("path-unknown", publishToDirectory(directory, "/objects/../x", Buffer.from("x")));
    });
  });

  it("leaves nothing of a file for which there was no space, or whose source was cut", () =>
    inTemporaryDirectory(async (directory) => {
      const file = join(directory, "file");
      await writeFile(file, randomBytes(100));
      const path = `/objects/${"a".repeat(64)}`;
      await failsWith(
        "disk-full",
        onFullDisk(5, () => publishToDirectory(directory, path, Buffer.alloc(10))),
      );
      await failsWith("object-corrupt", publishToDirectory(directory, path, { file, offset: 50, bytes: 60 }));
      assert.deepEqual(await readdir(join(directory, "objects")), []);
    }));
});
