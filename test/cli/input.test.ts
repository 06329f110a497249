import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readInput } from "../../src/cli/input.ts";
import { passwordSource } from "../../src/cli/password.ts";
import { createPrompts } from "../../src/cli/prompts.ts";

async function* stdin(...chunks: string[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

const { signal } = new AbortController();
const prompts = createPrompts({ interactive: false, signal });

describe("input", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-input-"));
  });
  after(() => rm(directory, { recursive: true }));

  it("is a file's bytes, or those of stdin for an explicit -", async () => {
    const file = join(directory, "file");
    await writeFile(file, "bytes");
    assert.equal(Buffer.from(await readInput(file, { maximumBytes: 5 })).toString(), "bytes");
    assert.equal(Buffer.from(await readInput("-", { maximumBytes: 6, stdin: stdin("two", "two") })).toString(), "twotwo");
  });

  it("is refused beyond its bound before more is read", async () => {
    let read = 0;
    const endless = async function* () {
      for (;;) {
        read += 1;
        yield new Uint8Array(10);
      }
    };
    await assert.rejects(readInput("-", { maximumBytes: 25, stdin: endless() }), { code: "input-oversize", exit: 13 });
    assert.equal(read, 3);
  });

  it("that is missing, or no file, is named", async () => {
    await assert.rejects(readInput(join(directory, "nothing"), { maximumBytes: 1 }), {
      code: "input-not-found",
      exit: 13,
      message: /nothing/,
    });
    await assert.rejects(readInput(directory, { maximumBytes: 1 }), { code: "input-unreadable", exit: 13 });
  });

  it("gives up with the reason of the abort", async () => {
    const reason = new Error("stopped");
    await assert.rejects(readInput(join(directory, "file"), { maximumBytes: 5, signal: AbortSignal.abort(reason) }), reason);
  });
});

describe("password", () => {
  it("is looked for once, however often it is needed", async () => {
    const environment = { CONNITO_PASSWORD: "first" };
    const password = passwordSource({ prompts, signal, environment });
    assert.equal(await password(), "first");
    environment.CONNITO_PASSWORD = "second";
    assert.equal(await password(), "first");
  });

  it("that is empty in the environment is none, and the flag is named", async () => {
    const password = passwordSource({ prompts, signal, environment: { CONNITO_PASSWORD: "" } });
    await assert.rejects(password(), { code: "input-missing", exit: 2, message: /--password-file/ });
  });
});

describe("prompts", () => {
  it("where nobody can be asked name the flag, whatever the kind of question", async () => {
    const question = { flag: "--name", message: "Name" };
    const asked = [
      prompts.text(question),
      prompts.secret(question),
      prompts.choice({ ...question, choices: [] }),
      prompts.confirm(question),
    ];
    for (const answer of asked) await assert.rejects(answer, { code: "input-missing", exit: 2, hint: /--name/ });
  });
});
