/**
 * Commands start without loading what is heavy. Not measured by time: every module that a process resolves is recorded, and none of
 * them may belong to a heavy package.
 */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { start } from "./process.ts";

const heavy =
  /\/node_modules\/(@polkadot|@polkadot-api|@noble|onnxruntime-node|onnxruntime-common|koffi|hono|@hono|inquirer|@inquirer|ora|execa|@huggingface)\/|\/chain\/packages\//;

describe("start-up", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-startup-"));
  });
  after(() => rm(directory, { recursive: true }));

  /** Runs one of the scripts beside this test, or the command itself, and returns the modules that were loaded. */
  async function loadedBy(name: string, ...args: string[]): Promise<{ modules: string[]; stdout: string }> {
    const file = join(directory, name);
    const { code, stdout, stderr } = await start(["--import", "./test/cli/trace/register.mjs", ...args], { env: { TRACE_FILE: file } })
      .ended;
    assert.equal(code, 0, stderr);
    return { modules: (await readFile(file, "utf8")).split("\n"), stdout };
  }

  it("records modules of both kinds, so that what follows means something", async () => {
    const { modules } = await loadedBy(
      "control",
      "--input-type=module",
      "-e",
      'import "ora"; (await import("node:module")).createRequire(process.cwd() + "/")("asciichart");',
    );
    assert.ok(modules.some((module) => module.includes("/node_modules/ora/")));
    assert.ok(modules.some((module) => module.includes("/node_modules/asciichart/")));
  });

  it("the help loads nothing heavy", async () => {
    const { modules, stdout } = await loadedBy("help", "bin/run.js", "--help");
    assert.match(stdout, /USAGE\n {2}\$ connito/);
    assert.deepEqual(
      modules.filter((module) => heavy.test(module)),
      [],
    );
  });

  it("the help of every command loads nothing heavy", async () => {
    const { modules, stdout } = await loadedBy("helps", "test/cli/trace/show-helps.mjs");
    assert.match(stdout, /EXAMPLES/);
    assert.deepEqual(
      modules.filter((module) => heavy.test(module)),
      [],
    );
  });

  it("loading any command, before it does its work, loads nothing heavy", async () => {
    const { modules, stdout } = await loadedBy("commands", "test/cli/trace/load-commands.mjs");
    assert.ok(Number(stdout) > 0);
    assert.deepEqual(
      modules.filter((module) => heavy.test(module)),
      [],
    );
  });
});
