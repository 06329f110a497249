import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkSources } from "../../../src/data/sources/local.ts";
import { parseSource } from "../../../src/data/sources/source.ts";

describe("data/sources/local", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-local-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it("refuses a pipe, which would be waited for without end, and a device, which has none", async () => {
    const pipe = join(directory, "pipe.txt");
    execFileSync("mkfifo", [pipe]);
    for (const path of [pipe, "/dev/zero"])
      await assert.rejects(checkSources([{ ...parseSource(pipe), location: path }]), { code: "data-unreadable", exit: 50 });
  });

  it("names a directory that may not be read", async function () {
    const closed = join(directory, "closed");
    await mkdir(closed);
    await chmod(closed, 0);
    // Root reads everything.
    if (process.getuid?.() === 0) this.skip();
    await assert.rejects(checkSources([{ ...parseSource("a.txt"), location: closed }]), { code: "data-unreadable" });
  });
});
