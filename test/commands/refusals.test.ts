/** What commands refuse before, in and after a cycle: exit code, code and hint, the same for people and for scripts. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Task } from "../../src/protocol/task.ts";
import { openWorkspace } from "../../src/workspace/workspace.ts";
import { connito } from "../cli/process.ts";
import { type SmallModel, smallModels, writeSmallModel } from "../model/families/goldens.ts";
import { packCheckpoint } from "../model/packed-checkpoint.ts";
import { checkRefusal, novel, openScene, type Participant, type Refusal, refuses, result, type Scene, smallModel } from "./scene.ts";

/** Longer than any test: a phase that does not end. */
const endless = 100_000;
/** Milliseconds that a test may take on a busy machine: each is of several processes. */
const slow = 240_000;
const shortest = { distribute: 1, train: 1, commit: 2, reveal: 3, score: 3, merge: 5 };

/** A state directory as `train`, and with `committed` also `commit`, leave it. */
async function leaveSubmission(scene: Scene, state: string, { committed }: { committed: boolean }): Promise<void> {
  const workspace = await openWorkspace(join(scene.directory, "state", state), { lock: true });
  try {
    const root = "ab".repeat(32);
    const submission = { root, cycle: 0, group: 0, base: scene.task.task.model.root, bytes: 1, steps: 1, tokens: 1 };
    await mkdir(workspace.layout.cycle(0), { recursive: true });
    await writeFile(workspace.layout.cycle(0, "submission.json"), JSON.stringify(submission));
    if (!committed) return;
    await workspace.secret("salt-0", () => new Uint8Array(32));
    await workspace.journal.intent("commit/0", { record: "00", root });
    await workspace.journal.effect("commit/0", { block: 1 });
  } finally {
    await workspace.close();
  }
}

describe("commands while a cycle is distributed", function () {
  this.timeout(slow);
  let scene: Scene;
  before(async () => {
    scene = await openScene({ phases: { ...shortest, distribute: endless }, blockTime: 250 });
  });
  after(() => scene?.close());

  describe("task create refuses", () => {
    const create = (document: object | string, ...flags: string[]) => createFrom(scene.model, document, ...flags);
    const createFrom = (model: string, document: object | string, ...flags: string[]) => {
      const input = typeof document === "string" ? document : JSON.stringify(document);
      const args = ["task", "create", "--name", "wrong", "--model", model, "--from", "-", ...flags];
      return [scene, { name: "owner", state: "another-owner", input }, args] as const;
    };
    const texts = () => ["--domain", `novel=${scene.texts.train},${scene.texts.heldOut}`];

    it("unknown fields and impossible phases, all named at once", async () => {
      const wrong = { colour: "red", cycle: { phases: { reveal: 1, train: 0 } } };
      const refusal = { exit: 13, code: "task-invalid", hint: /task schema|`/ };
      const message = await refuses(...create(wrong, "--groups", "2", ...texts()), refusal);
      for (const path of ["colour", "cycle.phases.reveal", "cycle.phases.train"]) assert.ok(message.includes(path), message);
    });

    it("what is no document of a task", async () => {
      await refuses(...create("null", "--groups", "2", ...texts()), { exit: 13, code: "task-invalid", hint: /task schema/ });
    });

    it("texts that are not there, or too short to draw from", async () => {
      const missing = ["--domain", `novel=${scene.texts.train},${join(scene.directory, "nowhere.txt")}`];
      const message = await refuses(...create({}, "--groups", "2", ...missing), { exit: 13, code: "data-missing", hint: /--domain/ });
      assert.match(message, /nowhere\.txt/);
      const long = { evaluation: { sequencesPerDomain: 10_000 } };
      await refuses(...create(long, "--groups", "2", ...texts()), { exit: 13, code: "held-out-too-short", hint: /sequencesPerDomain/ });
    });

    it("a number of groups that does not divide the experts", async () => {
      await refuses(...create({}, "--groups", "3", ...texts()), { exit: 13, code: "groups-do-not-divide", hint: /1, 2, 4/ });
    });

    it("submissions that would be refused for their size, naming what other codecs take", async () => {
      const few = { submission: { codec: "dense-bf16", maximumBytes: 5000 }, evaluation: { sequencesPerDomain: 8 } };
      const refusal = { exit: 13, code: "submission-too-large", hint: /signs-10 [\d.]+/ };
      await refuses(...create(few, "--groups", "2", "--sample-tokens", "1024", ...texts()), refusal);
    });

    it("packed weights, naming what unpacks them, and families that the engine does not compute, naming those that it does", async () => {
      const [packed, jamba] = [join(scene.directory, "packed weights"), join(scene.directory, "jamba")];
      await packCheckpoint(scene.model, packed);
      await writeSmallModel(jamba, smallModels().find(({ name }) => name === "jamba") as SmallModel);
      const on = (model: string) => createFrom(model, {}, "--groups", "1", ...texts());
      const asIs = await refuses(...on(packed), {
        exit: 13,
        code: "config-not-computable",
        hint: /`connito model convert '\/.*packed weights' --output /,
      });
      assert.match(asIs, /FP8/);
      const other = await refuses(...on(jamba), { exit: 13, code: "config-not-computable", hint: /mixtral, .*qwen3_moe/ });
      assert.match(other, /jamba/);
    });
  });

  it("task create asks for training of one's own where it is told to, measured on as many as --from says, or as tell", async () => {
    const domain = `novel=${scene.texts.train},${scene.texts.heldOut}`;
    const args = [
      "task",
      "create",
      "--name",
      "own",
      "--model",
      scene.model,
      "--groups",
      "2",
      "--domain",
      domain,
      "--sample-tokens",
      "1024",
    ];
    const created = async (sequences: number, given: object) => {
      const input = JSON.stringify({ evaluation: { sequencesPerDomain: 8, ...given } });
      const flags = ["--least-training", String(sequences), "--from", "-", "--dry-run", "--json"];
      const { task } = result(await scene.run("owner", [...args, ...flags], { state: `asks-${sequences}`, input }));
      return (task as Task).evaluation;
    };
    const [many, few, own] = await Promise.all([
      created(300, {}),
      created(30, {}),
      created(200, { leastTraining: { sequences: 100, drawn: 20 } }),
    ]);
    assert.deepEqual(
      [many, few, own].map(({ leastTraining, sequencesPerDomain }) => [leastTraining, sequencesPerDomain]),
      [
        [{ sequences: 300, drawn: 128 }, 8],
        [{ sequences: 30, drawn: 30 }, 8],
        [{ sequences: 200, drawn: 20 }, 8],
      ],
    );
  });

  it("task create makes a task of packed weights once the command that it names has unpacked them", async () => {
    const packed = join(scene.directory, "it's packed");
    await packCheckpoint(scene.model, packed);
    const on = (model: string) => {
      const domain = `novel=${scene.texts.train},${scene.texts.heldOut}`;
      const rest = ["--groups", "2", "--domain", domain, "--sample-tokens", "1024", "--from", "-", "--dry-run", "--json"];
      const input = JSON.stringify({ evaluation: { sequencesPerDomain: 8 } });
      return scene.run("owner", ["task", "create", "--name", "unpacked", "--model", model, ...rest], { state: "unpacker", input });
    };
    const { hint } = JSON.parse((await on(packed)).stdout).error;
    const [, command, base] = /`connito (.*)`, then this command with '(.*)'\.$/.exec(hint) as unknown as [string, string, string];
    // As a shell reads it: the words between quotes, and those between spaces.
    const words = [...command.matchAll(/(?:'[^']*'|\\.|[^\s'\\])+/g)].map(([word]) =>
      word.replaceAll("'\\''", "\0").replaceAll("'", "").replaceAll("\0", "'"),
    );
    result(await scene.run("owner", [...words, "--json"]));
    const made = result(await on(base.replaceAll("'\\''", "'")));
    assert.equal((made["task"] as { name: string }).name, "unpacked");
  });

  it("slice refuses a manifest that does not have the root on the chain, and a missing piece, each until it is mended", async () => {
    const path = join(scene.exchange, "manifests", `${scene.task.task.model.root}.json`);
    const honest = await readFile(path, "utf8");
    const manifest = JSON.parse(honest);
    manifest.pieces[0].hash = "00".repeat(32);
    await writeFile(path, JSON.stringify(manifest));
    const lie = await refuses(scene, { name: "miner", state: "slicer" }, ["slice"], {
      exit: 40,
      code: "manifest-root-mismatch",
      hint: /--peer/,
    });
    assert.ok(lie.includes(scene.exchange));
    await writeFile(path, honest);

    const object = join(scene.exchange, "objects", JSON.parse(honest).pieces[0].hash);
    await rename(object, `${object}.kept`);
    const missing = await refuses(scene, { name: "miner", state: "slicer" }, ["slice"], {
      exit: 30,
      code: "object-not-found",
      hint: /--peer/,
    });
    assert.ok(missing.includes(JSON.parse(honest).pieces[0].hash));
    await rename(`${object}.kept`, object);
    const mended = result(await scene.run("miner", ["slice", "--json"], { state: "slicer" }));
    assert.ok(Number(mended["fetchedPieces"]) < Number(mended["pieces"]), "what was fetched before stays");
  });

  it("assign refuses who is not registered, and cycles that have not begun", async () => {
    await refuses(scene, "stranger", ["assign"], { exit: 22, code: "not-registered", hint: /Register/ });
    await refuses(scene, "miner", ["assign", "--cycle", "7"], { exit: 20, code: "no-such-cycle", hint: /cycle status/ });
  });

  it("train, commit, reveal and score wait for their windows", async () => {
    const early = { exit: 20, code: "phase-not-open", hint: /--wait/ };
    await leaveSubmission(scene, "trained", { committed: false });
    await leaveSubmission(scene, "committed", { committed: true });
    await refuses(scene, "miner", ["train"], early);
    await refuses(scene, { name: "miner", state: "trained" }, ["commit"], early);
    await refuses(scene, { name: "miner", state: "committed" }, ["reveal"], early);
    await refuses(scene, "validator", ["score"], early);
  });

  it("commit and reveal refuse where there is nothing to send", async () => {
    await refuses(scene, "miner", ["commit"], { exit: 13, code: "nothing-to-commit", hint: /connito train/ });
    await leaveSubmission(scene, "uncommitted", { committed: false });
    await refuses(scene, { name: "miner", state: "uncommitted" }, ["reveal"], {
      exit: 13,
      code: "nothing-to-reveal",
      hint: /connito commit/,
    });
  });

  it("model export writes what the chain calls the base and the current version, and refuses what it does not have", async () => {
    const place = (name: string) => join(scene.directory, `exported-${name}`);
    const exporting = (who: Participant, version: string) =>
      scene.run(who, [
        "model",
        "export",
        "--version",
        version,
        "--output",
        place(`${who}-${version}`),
        "--max-shard-size",
        "20KB",
        "--json",
      ]);
    const ended = await Promise.all([exporting("owner", "base"), exporting("owner", "current"), exporting("stranger", "base")]);
    const { root } = scene.task.task.model;
    for (const exported of ended.slice(0, 2).map(result)) {
      assert.equal(exported["root"], root);
      assert.ok(Number(exported["files"]) > 1);
    }
    const inspected = result(await scene.run("stranger", ["model", "inspect", place("owner-current"), "--json"]));
    assert.equal(inspected["root"], root);
    const { error } = JSON.parse(ended[2]?.stdout ?? "");
    assert.deepEqual([ended[2]?.code, error.code], [40, "version-not-here"]);
    assert.match(error.hint, /slice --whole/);
  });

  it("cycle run is alone in its state directory, which status and cycle status may read beside it", async () => {
    const running = scene.begin("miner", ["cycle", "run", "--role", "miner"], { state: "daemon" });
    try {
      await running.says('"step":"slice"');
      await refuses(scene, { name: "miner", state: "daemon" }, ["cycle", "run", "--role", "miner"], {
        exit: 11,
        code: "state-locked",
        hint: /./,
      });
      const status = result(await scene.run("miner", ["cycle", "status", "--json"], { state: "daemon" }));
      assert.deepEqual([status["phase"], status["role"], status["missing"]], ["distribute", "miner", ["train", "commit", "reveal"]]);
    } finally {
      running.child.kill("SIGTERM");
    }
    assert.equal((await running.ended).code, 143);
  });

  it("status and cycle status say where a newcomer stands, and leave no state directory behind", async () => {
    const status = result(await scene.run("miner", ["status", "--json"], { state: "newcomer" }));
    assert.deepEqual([status["task"], status["role"], status["uid"]], ["scene", "miner", 2]);
    const cycle = result(await scene.run("stranger", ["cycle", "status", "--json"], { state: "newcomer" }));
    assert.deepEqual([cycle["cycle"], cycle["role"], cycle["taskHash"]], [0, "unregistered", scene.task.taskHash]);
    await assert.rejects(readFile(join(scene.directory, "state", "newcomer", "state.json")), { code: "ENOENT" });
  });
});

describe("commands after a cycle's windows", function () {
  this.timeout(slow);
  let scene: Scene;
  before(async () => {
    scene = await openScene({ phases: { ...shortest, score: endless } });
    // Everybody looks at the chain only once the cycle's score window is open for good.
    while (scene.localnet.finalized().number < 40) await new Promise((resolve) => setTimeout(resolve, 100));
  });
  after(() => scene?.close());

  it("train, commit and reveal are too late, with --wait as well", async () => {
    const late = { exit: 21, code: "deadline-missed", hint: /cycle status/ };
    await leaveSubmission(scene, "trained", { committed: false });
    await leaveSubmission(scene, "committed", { committed: true });
    await refuses(scene, "miner", ["train", "--wait"], late);
    await refuses(scene, { name: "miner", state: "trained" }, ["commit"], late);
    await refuses(scene, { name: "miner", state: "committed" }, ["reveal", "--wait"], late);
  });

  it("score wants a validator, held-out text and something revealed; merge wants the scores to be final", async () => {
    await refuses(scene, "miner", ["score"], { exit: 22, code: "not-a-validator", hint: /permit/ });
    await refuses(scene, "validator", ["merge"], { exit: 20, code: "phase-not-open", hint: /--wait/ });
    await refuses(scene, "miner", ["score", "explain"], { exit: 20, code: "phase-not-open", hint: /after that block/ });
    await refuses(scene, "validator", ["score"], { exit: 30, code: "held-out-missing", hint: /--peer/ });
    const peer = ["--peer", `file:${scene.heldOut}`];
    await refuses(scene, "validator", ["score", ...peer], { exit: 22, code: "nothing-revealed", hint: /next cycle/ });
  });
});

describe("commands without a chain", function () {
  this.timeout(slow);
  let directory: string;
  let model: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-refusals-"));
    model = join(directory, "base");
    result(await connito(["model", "init", model, ...smallModel, "--json"]));
  });
  after(() => rm(directory, { recursive: true }));

  async function refused(args: readonly string[], refusal: Refusal): Promise<string> {
    const [asJson, asText] = await Promise.all([connito([...args, "--json"]), connito(args)]);
    return checkRefusal(args, refusal, asJson, asText);
  }

  it("localnet refuses a port that is in use", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    try {
      await refused(["localnet", "--port", String(address.port)], { exit: 30, code: "port-in-use", hint: /another/ });
    } finally {
      server.close();
    }
  });

  it("model inspect refuses malformed and hostile safetensors, and families it does not know", async () => {
    const broken = join(directory, "broken");
    await cp(model, broken, { recursive: true });
    const weights = join(broken, "model.safetensors");
    const whole = await readFile(weights);
    // A header that claims to be larger than the file, and all memory.
    const hostile = Buffer.from(whole);
    hostile.writeBigUInt64LE(2n ** 62n, 0);
    await writeFile(weights, hostile);
    await refused(["model", "inspect", broken], { exit: 13, code: "safetensors-invalid", hint: /./ });
    await writeFile(weights, whole);
    const config = JSON.parse(await readFile(join(broken, "config.json"), "utf8"));
    await writeFile(join(broken, "config.json"), JSON.stringify({ ...config, model_type: "gpt_moe" }));
    await refused(["model", "inspect", broken], { exit: 13, code: "unknown-family", hint: /qwen3_moe/ });
  });

  it("esft select refuses a threshold outside (0, 1], and too few tokens, and then keeps no measurement", async () => {
    const text = join(directory, "text.txt");
    const scores = join(directory, "scores.json");
    await writeFile(text, await novel(2_000));
    const select = ["esft", "select", "--model", model, "--text", text, "--sequence-length", "32", "--save", scores];
    for (const threshold of ["0", "1.5", "much"]) {
      const message = await refused([...select, "--threshold", threshold], { exit: 13, code: "threshold-out-of-range", hint: /0\.2/ });
      assert.match(message, /above 0 and at most 1/);
    }
    await refused([...select, "--sample-tokens", "512"], { exit: 13, code: "too-few-tokens", hint: /text/ });
    await assert.rejects(readFile(scores), { code: "ENOENT" });
  });
});
