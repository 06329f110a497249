/** `connito train` as a process: killed, and with a program that cannot be trusted. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { Task } from "../../src/protocol/task.ts";
import { parseTokenData, placeOfSequence, sequenceBytes } from "../../src/protocol/token-data.ts";
import { trainingShare } from "../../src/protocol/training-share.ts";
import { createWalk, walkSeed } from "../../src/protocol/walk.ts";
import { openWorkspace } from "../../src/workspace/workspace.ts";
import type { Ended } from "../cli/process.ts";
import { openScene, result, type Scene } from "./scene.ts";

const endless = 100_000;
/** Enough of them to be in the midst of when the first checkpoint is there, on a quick machine as well. */
const steps = 4_000;
/** Sequences of its walk that the task wants a miner to learn from. */
const leastTraining = 100;
/** Milliseconds that a test may take on a busy machine: each is of several processes. */
const slow = 240_000;
const trainer = fileURLToPath(new URL("../steps/train/fixture/trainer.mjs", import.meta.url));

describe("training", function () {
  this.timeout(slow);
  let scene: Scene;
  before(async () => {
    scene = await openScene({
      phases: { distribute: 1, train: endless, commit: 2, reveal: 3, score: 3, merge: 5 },
      blockTime: 250,
      leastTraining,
    });
  });
  after(() => scene?.close());

  const train = ["train", "--wait", "--max-steps", String(steps), "--json"];
  const file = (state: string, name: string) => join(scene.directory, "state", state, "cycles", "0", name);
  const losses = async (state: string) => JSON.parse(await readFile(file(state, "losses.json"), "utf8")) as number[];

  it("killed by SIGKILL goes on from its checkpoint and ends with the same submission as without", async () => {
    const whole = scene.run("miner", train, { state: "whole" });
    const killed = scene.begin("miner", train, { state: "killed" });
    const checkpoint = () =>
      access(file("killed", "training.safetensors")).then(
        () => true,
        () => false,
      );
    while (!(await checkpoint())) {
      assert.equal(killed.child.exitCode, null, JSON.stringify(killed.child.exitCode === null || (await killed.ended)));
      await sleep(20);
    }
    killed.child.kill("SIGKILL");
    assert.equal((await killed.ended).signal, "SIGKILL");
    const again = scene.begin("miner", train, { state: "killed" });
    const [uninterrupted, resumed] = [result(await whole), result(await again.ended)];
    const facts = ({ root, bytes, steps, tokens, loss }: Record<string, unknown>) => ({ root, bytes, steps, tokens, loss });
    assert.deepEqual(facts(resumed), facts(uninterrupted));
    assert.equal(uninterrupted["steps"], steps);
    for (const { stderr } of [await whole, await again.ended]) assert.doesNotMatch(stderr, /too-little-training/);
    assert.ok(isDeepStrictEqual(await losses("killed"), await losses("whole")), "the loss curves differ");
    // It did not begin again: the first thing it says is of a later step.
    const first = (await again.ended).stderr.split("\n").find((line) => line.includes('"update"') && line.includes("tokens/s"));
    assert.ok(Number(JSON.parse(first as string).done) > 1, first);
  });

  it("goes layer by layer where memory is short, as the plan says, and learns the same", async () => {
    const few = ["--wait", "--max-steps", "5", "--json"];
    const [plan, whole, layers] = await Promise.all([
      scene.run("miner", ["train", "--wait", "--plan", "--memory", "150MiB", "--json"], { state: "planned" }),
      scene.run("miner", ["train", ...few], { state: "roomy" }),
      scene.run("miner", ["train", "--memory", "150MiB", ...few], { state: "narrow" }),
    ]);
    const { way, memory, trained } = result(plan) as {
      way: string;
      memory: Record<string, { total: number }>;
      trained: { tensors: number };
    };
    assert.equal(way, "layers");
    assert.ok(trained.tensors > 0 && (memory["layers"]?.total ?? 0) > 0);
    const note = layers.stderr.split("\n").find((line) => line.includes('"event":"plan"'));
    assert.equal(JSON.parse(note ?? "{}").way, "layers", layers.stderr);
    // Five steps of four sequences are too few for what this task asks.
    for (const { stderr } of [whole, layers]) {
      const { trained, asked } = JSON.parse(stderr.split("\n").find((line) => line.includes("too-little-training")) ?? "{}");
      assert.deepEqual([trained, asked], [20, leastTraining], stderr);
    }
    const [a, b] = [result(whole), result(layers)];
    assert.ok(Math.abs(Number(a["loss"]) - Number(b["loss"])) < 1e-5, `${a["loss"]} and ${b["loss"]}`);
  });

  it("by a program begins where the miner's walk does", async () => {
    const state = "walker";
    const walks = ["train", "--json", "--backend", "command", "--", process.execPath, trainer, "walks", join(scene.directory, "no-result")];
    const { stderr } = await scene.run("miner", walks, { state });
    const { group, groups } = result(await scene.run("miner", ["assign", "--json"], { state })) as { group: number; groups: string[][] };
    const { taskHash, task } = scene.task as unknown as { taskHash: string; task: Task };
    const workspace = await openWorkspace(join(scene.directory, "state", state), { lock: false });
    try {
      const { objects } = workspace;
      const data = parseTokenData(JSON.parse(Buffer.from(await objects.read(task.data.domains[0]?.train as string)).toString("utf8")));
      const members = groups[group] as string[];
      const [miner, miners] = [members.indexOf(scene.addresses.miner), members.length];
      const share = trainingShare(data, { taskHash, cycle: 0, group, domain: 0, miner, miners });
      const walk = createWalk([share], walkSeed(taskHash, 0, scene.addresses.miner));
      const digest = createHash("sha256");
      for (let place = 0; place < leastTraining; place++) {
        const { shard, offset } = placeOfSequence(data, walk.at(place).index);
        const bytes = await objects.read(data.shards[shard]?.hash as string);
        digest.update(bytes.subarray(offset, offset + sequenceBytes(data)));
      }
      const note = stderr.split("\n").find((line) => line.includes(`"${leastTraining} sequences: `)) ?? "{}";
      assert.equal(JSON.parse(note).label, `${leastTraining} sequences: ${digest.digest("hex")}`, stderr);
    } finally {
      await workspace.close();
    }
  });

  it("by a program that says it did too little is told so, for all that it lowers the loss", async () => {
    const scales = (factor: string) =>
      scene.run("miner", ["train", "--json", "--backend", "command", "--", process.execPath, trainer, "scales", factor], {
        state: `x${factor}`,
      });
    const ended = await Promise.all(["0.99", "1.01"].map(scales));
    const { stdout, stderr } = ended.find(({ code }) => code === 0) ?? (ended[0] as Ended);
    assert.equal(JSON.parse(stdout).tokens, 100, stderr);
    // A hundred tokens, in sequences of 32.
    const { trained, asked } = JSON.parse(stderr.split("\n").find((line) => line.includes("too-little-training")) ?? "{}");
    assert.deepEqual([trained, asked], [3, leastTraining], stderr);
  });

  it("is not done by a program that says so and does not deliver", async () => {
    const lies = ["train", "--json", "--backend", "command", "--", process.execPath, trainer, "fails", "0"];
    const { code, stdout } = await scene.run("miner", lies, { state: "lied-to" });
    assert.deepEqual([code, JSON.parse(stdout).error.code], [40, "trainer-result-invalid"], stdout);
  });
});
