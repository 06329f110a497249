import assert from "node:assert/strict";
import { linkSync, lstatSync, readdirSync, readFileSync, symlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { writeAll } from "../../src/files/replacing.ts";
import { resumeFile } from "../../src/files/resuming.ts";
import { inDirectory, writeFile } from "../model/support.ts";

describe("files/resuming", () => {
  it("goes on with what an attempt left, and gives the name when all is there", async () => {
    await inDirectory(async (directory) => {
      const path = join(directory, "a");
      const given = resumeFile(path, "one", async (handle) => {
        await writeAll(handle, Buffer.from("half"));
        throw new Error("given up");
      });
      await assert.rejects(given, { message: "given up" });
      assert.deepEqual(readdirSync(directory), [".a.one.tmp"]);
      await resumeFile(path, "one", async (handle) => {
        assert.equal(await handle.readFile("utf8"), "half");
        await writeAll(handle, Buffer.from(" and half"), 4);
      });
      assert.deepEqual(readdirSync(directory), ["a"]);
      assert.equal(readFileSync(path, "utf8"), "half and half");
      await resumeFile(path, "two", (handle) => writeAll(handle, Buffer.from("other")));
      assert.equal(readFileSync(path, "utf8"), "other", "an attempt with another id begins with nothing");
    });
  });

  it("does not go on in a file that a link of that name leads to", async () => {
    await inDirectory(async (directory) => {
      const victim = writeFile(directory, "victim", "of somebody");
      symlinkSync(victim, join(directory, ".a.one.tmp"));
      await resumeFile(join(directory, "a"), "one", (handle) => writeAll(handle, Buffer.from("x")));
      assert.ok(lstatSync(join(directory, "a")).isFile());
      assert.equal(readFileSync(join(directory, "a"), "utf8"), "x");
      assert.equal(readFileSync(victim, "utf8"), "of somebody");
    });
  });

  it("does not go on in a file that has another name too", async () => {
    await inDirectory(async (directory) => {
      const victim = writeFile(directory, "victim", "of somebody");
      linkSync(victim, join(directory, ".a.one.tmp"));
      await resumeFile(join(directory, "a"), "one", (handle) => writeAll(handle, Buffer.from("x")));
      assert.equal(readFileSync(join(directory, "a"), "utf8"), "x");
      assert.equal(readFileSync(victim, "utf8"), "of somebody");
    });
  });

  it("removes what was left of other attempts at a file, and nothing that somebody may be writing", async () => {
    await inDirectory(async (directory) => {
      for (const name of [".a.own.tmp", ".a.123.tmp", ".a.456.tmp", ".a.st.123.tmp", ".b.123.tmp", "a", ".a.txt"])
        writeFile(directory, name, "");
      const hoursAgo = Date.now() / 1000 - 7200;
      for (const name of [".a.own.tmp", ".a.123.tmp", ".a.st.123.tmp", ".b.123.tmp", "a", ".a.txt"])
        utimesSync(join(directory, name), hoursAgo, hoursAgo);
      const seen = await resumeFile(join(directory, "a"), "own", async () => readdirSync(directory).sort());
      assert.deepEqual(seen, [".a.456.tmp", ".a.own.tmp", ".a.st.123.tmp", ".a.txt", ".b.123.tmp", "a"]);
    });
  });
});
