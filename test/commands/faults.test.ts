/** What goes wrong around a command, and that nothing is lost by it: it says what to do, or waits and goes on. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { copyFile, mkdir, readdir, readFile, rename, stat, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { verifySignature } from "../../src/chain/signer.ts";
import { startServer } from "../../src/exchange/server.ts";
import { openWorkspace, type Workspace } from "../../src/workspace/workspace.ts";
import { repository } from "../cli/process.ts";
import { openScene, refuses, result, type Scene } from "./scene.ts";

const execute = promisify(execFile);
const endless = 100_000;
/** Milliseconds that a test may take on a busy machine: each is of several processes. */
const slow = 240_000;
const scorer = fileURLToPath(new URL("../steps/evaluate/fixture/scorer.mjs", import.meta.url));
const shortest = { distribute: 1, train: 1, commit: 2, reveal: 3, score: 3, merge: 5 };

describe("fetching a slice", function () {
  this.timeout(slow);
  let scene: Scene;
  /** A large piece, in the owner's directory. */
  let piece: string;
  let hash: string;
  before(async () => {
    scene = await openScene({ phases: { ...shortest, distribute: endless }, blockTime: 250 });
    const manifest = JSON.parse(await readFile(join(scene.exchange, "manifests", `${scene.task.task.model.root}.json`), "utf8"));
    hash = manifest.pieces.find(({ name }: { name: string }) => name.includes("embed_tokens")).hash;
    piece = join(scene.exchange, "objects", hash);
  });
  after(() => scene?.close());

  /** Whether every object in a participant's state directory is what its name says. */
  async function assertVerified(state: string): Promise<void> {
    const objects = join(scene.directory, "state", state, "objects");
    const files = (await readdir(objects, { recursive: true })).filter((name) => name.length > 60);
    assert.ok(files.length > 10);
    for (const file of files) {
      const found = createHash("sha256")
        .update(await readFile(join(objects, file)))
        .digest("hex");
      assert.equal(found, file.slice(-64));
    }
  }

  it("refuses what is cut short, keeps the rest, and goes on when it is whole again", async () => {
    await copyFile(piece, `${piece}.whole`);
    await truncate(piece, 1000);
    const message = await refuses(scene, "miner", ["slice"], { exit: 40, code: "object-hash-mismatch", hint: /--peer/ });
    assert.ok(message.includes(hash) && message.includes(scene.exchange));
    await rename(`${piece}.whole`, piece);
    const mended = result(await scene.run("miner", ["slice", "--json"]));
    assert.ok(Number(mended["fetchedPieces"]) < Number(mended["pieces"]));
    await assertVerified("miner");
  });

  it("goes on elsewhere when what answers at an address is no participant, or hangs up", async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? "");
      if (request.url === "/hotkey") response.end(scene.addresses.validator);
      else request.socket.destroy();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    try {
      const peer = `http://127.0.0.1:${address.port}`;
      result(await scene.run("miner", ["slice", "--peer", peer, "--json"], { state: "cut" }));
      assert.ok(
        asked.some((url) => url.startsWith("/sessions/")),
        asked.join(" "),
      );
      await assertVerified("cut");
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it("passes over a peer that lies, and names it", async () => {
    const liar = join(scene.directory, "liar");
    await mkdir(join(liar, "objects"), { recursive: true });
    const bytes = await readFile(piece);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    await writeFile(join(liar, "objects", hash), bytes);
    const ended = await scene.run("miner", ["slice", "--peer", `file:${liar}`, "--json"], { state: "lied-to" });
    result(ended);
    const notes = ended.stderr.split("\n").flatMap((line) => (line.includes('"note"') ? [JSON.parse(line)] : []));
    assert.deepEqual(
      notes.map(({ code, peer }) => [code, peer]),
      [["object-hash-mismatch", `file:${liar}`]],
    );
    await assertVerified("lied-to");
  });

  it("killed by SIGKILL fetches from a server what is missing, and nothing twice", async () => {
    const asked: string[] = [];
    let room = 12;
    let waiting = 0;
    let release = () => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    const server = await startServer({
      host: "127.0.0.1",
      port: 0,
      hotkey: scene.addresses.validator,
      authorize: () => true,
      verify: verifySignature,
      finalizedBlock: () => scene.localnet.best().number,
      publication: {
        async resolve(path) {
          asked.push(path);
          if (path.startsWith("/objects/") && room-- <= 0) {
            waiting += 1;
            await released;
          }
          const file = join(scene.exchange, path);
          return { file, offset: 0, bytes: (await stat(file)).size };
        },
      },
    });
    try {
      const slice = ["slice", "--peer", server.url, "--json"];
      const killed = scene.begin("miner", slice, { state: "killed" });
      // As many as it fetches at the same time: what was delivered before is kept by then.
      while (waiting < 8) {
        assert.equal(killed.child.exitCode, null, JSON.stringify(killed.child.exitCode === null || (await killed.ended)));
        await sleep(20);
      }
      killed.child.kill("SIGKILL");
      assert.equal((await killed.ended).signal, "SIGKILL");
      room = Number.POSITIVE_INFINITY;
      release();
      const kept = new Set(
        (await readdir(join(scene.directory, "state", "killed", "objects"), { recursive: true })).map((name) => basename(name)),
      );
      const before = asked.splice(0).length;
      const again = result(await scene.run("miner", slice, { state: "killed" }));
      assert.ok(before > 12 && kept.size > 12 && asked.length >= 8);
      for (const path of asked) assert.ok(!kept.has(basename(path)), `${path} was fetched twice`);
      assert.ok(Number(again["presentBytes"]) > 0 && Number(again["fetchedBytes"]) > 0);
      await assertVerified("killed");
      assert.equal(result(await scene.run("miner", slice, { state: "killed" }))["fetchedPieces"], 0);
    } finally {
      release();
      await server.close();
    }
  });

  it("says that the disk is full, and goes on when there is room", async function () {
    const namespace = await execute("unshare", ["-rm", "true"]).then(
      () => true,
      () => false,
    );
    // Mounting needs user namespaces, which some containers and kernels do not allow.
    if (!namespace) return this.skip();
    const state = join(scene.directory, "state", "small");
    await mkdir(state, { recursive: true });
    const slice = `"$NODE" bin/run.js slice --json`;
    const script = `mount -t tmpfs -o size=64k small "$CONNITO_STATE_DIR" || exit 99
      ${slice}; echo "exit $?"
      mount -o remount,size=16m "$CONNITO_STATE_DIR"
      ${slice}; echo "exit $?"`;
    const { stdout } = await execute("unshare", ["-rm", "sh", "-c", script], {
      cwd: repository,
      env: { PATH: process.env["PATH"], HOME: scene.directory, NODE: process.execPath, ...scene.environment("miner", "small") },
    });
    const [refused, done] = stdout.split(/exit \d+\n/).map((text) => (text === "" ? undefined : JSON.parse(text)));
    assert.deepEqual(stdout.match(/exit \d+/g), ["exit 50", "exit 0"]);
    assert.equal(refused.error.code, "disk-full");
    assert.match(refused.error.hint, /space/);
    assert.equal(refused.error.retryable, true);
    assert.ok(done.pieces > 0);
  });

  it("refuses a wrong password before anything else", async () => {
    // once: a password takes seconds to stretch, by design
    const wallets = join(repository, "test/chain/fixtures/wallets");
    const env = { BT_WALLET_PATH: wallets, BT_WALLET_NAME: "golden", BT_WALLET_HOTKEY: "encrypted", CONNITO_PASSWORD: "wrong" };
    const { code, stdout } = await scene.run("miner", ["slice", "--json"], { state: "locked", env });
    const { error } = JSON.parse(stdout);
    assert.deepEqual([code, error.code, /password/.test(error.hint)], [12, "wallet-password-wrong", true]);
    await assert.rejects(stat(join(scene.directory, "state", "locked")), { code: "ENOENT" });
  });
});

describe("a chain that goes away", function () {
  this.timeout(slow);
  let scene: Scene;
  before(async () => {
    const long = 120;
    const phases = { distribute: long, train: long, commit: long, reveal: long, score: endless, merge: 5 };
    scene = await openScene({ phases, blockTime: 1000, grouping: "affinity" });
    assert.match(scene.task.task.experts.grouping, /^[0-9a-f]{64}$/);
    const { even, affinity } = scene.task.kept ?? {};
    assert.ok(
      even?.length === 1 && affinity?.length === 1 && (affinity[0]?.inGroup ?? 0) >= (even[0]?.inGroup ?? 1),
      "what the groups keep",
    );
  });
  after(() => scene?.close());

  async function inState<T>(name: string, work: (workspace: Workspace) => Promise<T>): Promise<T> {
    const workspace = await openWorkspace(join(scene.directory, "state", name), { lock: true });
    try {
      return await work(workspace);
    } finally {
      await workspace.close();
    }
  }

  it("is waited for: the cycle's work is done when it is back, once, and doing it again is success", async () => {
    // As a kill between making the salt and committing to it leaves the state directory: the commit must be salted with this.
    const salt = await inState("miner", (workspace) => workspace.secret("salt-0", () => new Uint8Array(32).fill(7)));
    const miner = scene.begin("miner", ["cycle", "run", "--role", "miner", "--cycles", "1", "--json"]);
    await miner.says('"step":"slice","outcome":"done"');
    scene.passTo("train");
    await miner.says('"Training group');
    await scene.pause();
    await refuses(scene, "validator", ["status"], { exit: 30, code: "chain-unreachable", hint: /--network/ });
    await scene.resume();
    scene.passTo("commit");
    await miner.says('"step":"commit","outcome":"done"');
    scene.passTo("reveal");
    const { outcomes } = result(await miner.ended) as { outcomes: { step: string; outcome: string }[] };
    assert.deepEqual([...new Set(outcomes.map(({ outcome }) => outcome))], ["done"], JSON.stringify(outcomes));

    // The window ended while it trained: it stopped in time, and the chain's absence was no part of the window that it could use.
    const made = join(scene.directory, "state", "miner", "cycles", "0", "submission.json");
    const { timing } = JSON.parse(await readFile(made, "utf8")) as { timing: { training: number; window: number } };
    assert.ok(timing.training > 0 && timing.training <= timing.window, JSON.stringify(timing));

    const kept = await inState("miner", (workspace) => workspace.findSecret("salt-0"));
    assert.deepEqual([...(kept ?? [])], [...salt]);

    for (const step of ["train", "commit", "reveal"]) {
      const again = result(await scene.run("miner", [step, "--cycle", "0", "--json"]));
      assert.equal(again["alreadyDone"], true, step);
    }
    scene.passTo("score");
    const peer = ["--peer", `file:${scene.heldOut}`];
    const score = ["score", "--cycle", "0", "--wait", ...peer, "--json"];
    const scoring = await scene.run("validator", [...score, "--backend", "command", "--", process.execPath, scorer, "dies", "0"]);
    // Its program died each time: the engine did the work.
    assert.match(scoring.stderr, /"code":"scorer-failed"/);
    const scored = result(scoring) as { revealed: number; entries: { miner: string; status: string }[] };
    assert.equal(scored.revealed, 1);
    // Measured, whatever it was worth: not one of the statuses of bytes that came late, broken or not at all.
    assert.ok(["accepted", "no-gain"].includes(scored.entries[0]?.status ?? ""), JSON.stringify(scored.entries));
    assert.equal(result(await scene.run("validator", score))["alreadyDone"], true);
  });
});
