/** The base command in real processes: what a script sees of every way in which a command can end. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildFixture } from "./build-fixture.ts";
import { type Ended, type StartOptions, start } from "./process.ts";

let program: string;
const fixture = (args: readonly string[], options?: StartOptions) => start([program, ...args], options);
const run = (args: readonly string[], options?: StartOptions): Promise<Ended> => fixture(args, options).ended;
const behave = (mode: string, ...rest: string[]) => run(["behave", mode, ...rest]);
const document = ({ stdout }: Ended) => JSON.parse(stdout);

/** The failure as a script sees it. */
async function assertFails(args: readonly string[], exit: number, code: string, options?: StartOptions): Promise<Ended> {
  const ended = await run([...args, "--json"], options);
  const { error, ...rest } = document(ended);
  assert.deepEqual([ended.code, error.code, rest], [exit, code, {}]);
  assert.deepEqual(Object.keys(error), ["code", "message", "hint", "retryable"]);
  assert.ok(!/\n {4}at /.test(ended.stderr), "no stack trace");
  return ended;
}

/** The same failure with and without --json: one document on stdout, or text on stderr, and the same exit code. */
async function assertFailsAlike(args: readonly string[], exit: number, code: string): Promise<void> {
  const [json, text] = await Promise.all([assertFails(args, exit, code), run(args)]);
  const { error } = document(json);
  assert.deepEqual([text.code, text.stdout], [exit, ""]);
  assert.ok(text.stderr.includes(error.message) && text.stderr.includes(error.hint), text.stderr);
}

describe("base command", () => {
  before(async () => {
    program = await buildFixture();
  });

  describe("results", () => {
    it("are text for people and one document for scripts", async () => {
      const [text, json] = await Promise.all([behave("plain"), behave("plain", "--json")]);
      assert.deepEqual([text.code, text.stdout], [0, "done\n"]);
      assert.deepEqual([json.code, document(json)], [0, { text: "done" }]);
    });

    it("keep integers beyond 2^53 as decimal strings", async () => {
      const ended = await behave("bigint", "--json");
      assert.equal(ended.code, 0);
      assert.deepEqual(document(ended), {
        big: "18446744073709551616",
        inner: [{ big: "-9007199254740992" }],
        map: { key: "1" },
        bytes: "01ff",
      });
    });

    it("are an object even where there is nothing to say, or a list", async () => {
      const [empty, list] = await Promise.all([behave("empty", "--json"), behave("list", "--json")]);
      assert.deepEqual(document(empty), {});
      assert.deepEqual(document(list), { result: ["1", "2"] });
    });

    it("stay alone on stdout when libraries log, work is shown and warnings are given", async () => {
      const ended = await behave("noise", "--json");
      assert.deepEqual(document(ended), { text: "done" });
      assert.match(ended.stderr, /a library logs to stdout/);
      assert.match(ended.stderr, /"event":"update".*"done":1,"total":2,"detail":"half"/);
      assert.match(ended.stderr, /Warning: careful/);
    });

    it("are checked against the command's schema where a test asks for it", async () => {
      const ended = await run(["behave", "misshapen", "--json"], { env: { CONNITO_CHECK_RESULTS: "1" } });
      assert.deepEqual([ended.code, document(ended).error.code], [1, "result-shape"]);
    });

    it("stand even where cleaning up after them fails", async () => {
      const ended = await behave("messy", "--json");
      assert.deepEqual([ended.code, document(ended)], [0, { text: "done" }]);
      assert.match(ended.stderr, /Warning: cleaning up failed: the lock is gone/);
    });

    it("end the process, whatever keeps the event loop busy", async () => {
      const ended = await behave("linger");
      assert.deepEqual([ended.code, ended.stdout], [0, "done\n"]);
    });
  });

  describe("failures", () => {
    it("have their own exit code with and without --json", () => assertFailsAlike(["behave", "typed"], 20, "phase-not-open"));
    it("that nobody waited for exit with 1", async () => void (await assertFails(["behave", "rejection"], 1, "unexpected")));

    it("show a stack only where CONNITO_DEBUG asks for it, and then beside the document", async () => {
      const ended = await run(["behave", "crash", "--json"], { env: { CONNITO_DEBUG: "1" } });
      assert.deepEqual([ended.code, document(ended).error.code], [1, "unexpected"]);
      assert.match(ended.stderr, /\n {4}at /);
    });

    it("end an activity that was under way", async () => {
      const { code, stderr } = await behave("open");
      assert.equal(code, 40);
      assert.match(stderr, /working: failed\nError: Broke\. \(broke\)\nMend it\.\n/);
    });
  });

  describe("usage errors exit with 2", () => {
    const wrong: readonly (readonly [why: string, args: readonly string[], code?: string])[] = [
      ["a value that is not allowed", ["behave", "nothing"]],
      ["a value that a flag's check refuses", ["behave", "plain", "--count", "9"]],
      ["a flag without its value", ["behave", "plain", "--netuid"]],
      ["an unknown command of a topic", ["topic", "outer"], "unknown-command"],
    ];
    for (const [why, args, code = "usage"] of wrong) it(why, async () => void (await assertFails(args, 2, code)));

    it("as well without --json", () => assertFailsAlike(["behave", "--frob"], 2, "usage"));

    it("name the command that was meant", async () => {
      const { code, stderr } = await run(["topic", "iner"]);
      assert.equal(code, 2);
      assert.match(stderr, /Did you mean `fixture topic inner`\?/);
    });
  });

  describe("input", () => {
    it("is not read from stdin unless asked for: an absent argument is missing", async () => {
      await assertFails(["behave"], 2, "usage", { input: "plain\n" });
    });

    it("is never asked for without a terminal: the flag is named", async () => {
      const ended = await assertFails(["behave", "ask"], 2, "input-missing");
      assert.match(document(ended).error.hint, /--name/);
    });

    it("takes a password from stdin, a file or the environment, in that order", async () => {
      const directory = await mkdtemp(join(tmpdir(), "connito-password-"));
      try {
        const file = join(directory, "password");
        await writeFile(file, "four\r\n");
        const env = { CONNITO_PASSWORD: "sixsix" };
        const runs = await Promise.all([
          run(["behave", "password", "--json", "--password-file", "-"], { input: "two\n", env }),
          run(["behave", "password", "--json", "--password-file", file], { env }),
          run(["behave", "password", "--json"], { env }),
        ]);
        assert.deepEqual(
          runs.map(document),
          [3, 4, 6].map((length) => ({ length, again: length })),
        );
      } finally {
        await rm(directory, { recursive: true });
      }
      await assertFails(["behave", "password"], 2, "input-missing");
    });
  });

  describe("signals", () => {
    for (const [signal, exit] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      it(`${signal} stops at the next safe point, cleans up and exits with ${exit}`, async () => {
        const { child, says, ended } = fixture(["behave", "wait", "--json"]);
        await says("ready");
        child.kill(signal);
        const stopped = await ended;
        assert.deepEqual([stopped.code, document(stopped).error.code], [exit, "interrupted"]);
        assert.match(stopped.stderr, /finalized/);
      });
    }

    it("a second one forces, and still cleans up", async () => {
      const { child, says, ended } = fixture(["behave", "stubborn"]);
      await says("ready");
      child.kill("SIGINT");
      await says("Once more to force.");
      child.kill("SIGTERM");
      const { code, stderr } = await ended;
      assert.equal(code, 143);
      assert.match(stderr, /finalized/);
    });

    it("a command that ends in order after one has done its work", async () => {
      const { child, says, ended } = fixture(["behave", "orderly", "--json"]);
      await says("ready");
      child.kill("SIGTERM");
      const stopped = await ended;
      assert.deepEqual([stopped.code, document(stopped)], [0, { stopped: true }]);
    });
  });

  it("ends in order though nobody reads what it says any more", async () => {
    const orderly = fixture(["behave", "orderly"]);
    await orderly.says("ready");
    orderly.child.stderr?.destroy();
    orderly.child.stdout?.destroy();
    orderly.child.kill("SIGTERM");
    const { code, signal } = await orderly.ended;
    assert.deepEqual([code, signal], [0, null]);
  });

  describe("shared flags", () => {
    const flagsOf = async (env: Record<string, string>, ...args: string[]) =>
      document(await run(["behave", "flags", "--json", ...args], { env })).flags;

    it("come from the command line, then the environment, then the default", async () => {
      const env = {
        CONNITO_NETWORK: "test",
        CONNITO_NETUID: "7",
        CONNITO_STATE_DIR: "/state",
        BT_WALLET_NAME: "w",
        BT_WALLET_HOTKEY: "h",
        HOME: "/home/me",
      };
      const [defaults, environment, given] = await Promise.all([
        flagsOf({ HOME: "/home/me" }),
        flagsOf(env),
        flagsOf(env, "--network", "finney", "--netuid", "9", "--state-dir", "~/here", "--wallet-name", "x", "--hotkey", "y"),
      ]);
      const read = (flags: Record<string, unknown>) =>
        ["network", "netuid", "state-dir", "wallet-name", "hotkey"].map((name) => flags[name]);
      assert.deepEqual(read(defaults), ["local", undefined, "/home/me/.connito", "default", "default"]);
      assert.deepEqual(read(environment), ["test", 7, "/state", "w", "h"]);
      assert.deepEqual(read(given), ["finney", 9, "/home/me/here", "x", "y"]);
    });

    it("read the chain from the names that Bittensor's tools use, the endpoint first", async () => {
      const endpoint = { BT_SUBTENSOR_CHAIN_ENDPOINT: "ws://10.0.0.1:9944" };
      const network = { BT_SUBTENSOR_NETWORK: "finney" };
      const [both, one] = await Promise.all([flagsOf({ ...endpoint, ...network }), flagsOf(network)]);
      assert.deepEqual([both.network, one.network], ["ws://10.0.0.1:9944", "finney"]);
    });
  });
});
