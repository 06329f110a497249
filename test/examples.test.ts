/** The example scripts, as a reader runs them. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { repository } from "./cli/process.ts";
import { novel } from "./commands/scene.ts";

const execute = promisify(execFile);

describe("examples/one-cycle.sh", function () {
  // Blocks of a second leave a command a minute and a half to be in its window, and the merge half a minute to vote.
  this.timeout(600_000);
  let directory: string;
  let text: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-example-"));
    text = join(directory, "novel.txt");
    await writeFile(text, await novel(200_000));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  const run = (work: string, env: Record<string, string> = {}) =>
    execute("bash", ["examples/one-cycle.sh", join(directory, work)], {
      cwd: repository,
      timeout: 590_000,
      env: { PATH: process.env["PATH"], HOME: directory, TEXT: text, CONNITO: "node bin/run.js", ...env },
    });

  it("takes owner, validator and miner through a cycle by single commands", async () => {
    const { stdout } = await run("good", { PRETRAIN_STEPS: "20", TRAIN_STEPS: "20", BLOCK_TIME: "1s" });
    const merged = JSON.parse(await readFile(join(directory, "good", "merge.json"), "utf8"));
    assert.equal(merged.cycle, 0);
    assert.equal(merged.reporters.length, 1);
    assert.equal(merged.verdicts.length, 1);
    assert.ok(["accepted", "no-gain"].includes(merged.verdicts[0].status), merged.verdicts[0].status);
    assert.match(stdout, /You are miner/);
  });

  it("stops at the first command that fails, with its exit code, and leaves no chain behind", async () => {
    await writeFile(join(directory, "short.txt"), "Call me Ishmael.\n");
    const failed = await run("bad", { TEXT: join(directory, "short.txt"), PRETRAIN_STEPS: "1", BLOCK_TIME: "100ms" }).then(
      () => assert.fail("the script went on"),
      (error: { code: number; stderr: string }) => error,
    );
    assert.equal(failed.code, 13, failed.stderr);
    assert.match(failed.stderr, /\(text-too-short\)/);
    await assert.rejects(readFile(join(directory, "bad", "ready")), { code: "ENOENT" }); // Which the chain removes when it ends.
  });
});
