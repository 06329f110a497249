import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import { placeRate } from "../../../src/engine/places.ts";
import { openTrainer } from "../../../src/engine/trainer.ts";
import { trainingJobSchema } from "../../../src/external/job.ts";
import type { FloatDtype } from "../../../src/model/dtype.ts";
import { fromFloat32 } from "../../../src/model/dtype.ts";
import { listWeights } from "../../../src/model/families/index.ts";
import type { Piece } from "../../../src/model/pieces.ts";
import { readHeader, writeSafetensors } from "../../../src/model/safetensors.ts";
import type { Task } from "../../../src/protocol/task.ts";
import { type ExternalTraining, trainExternally } from "../../../src/steps/train/external-training.ts";
import { silentProgress } from "../../../src/ui/progress.ts";
import { smallQwen3Moe, smallSequences, smallWeights } from "../../engine/small-models.ts";
import { failure } from "../../model/support.ts";

const program = fileURLToPath(new URL("fixture/trainer.mjs", import.meta.url));
const architecture = smallQwen3Moe;
const weights = smallWeights(architecture);
const specs = listWeights(architecture);
const selected = specs.filter(({ expert }) => expert === 1);
const sequenceLength = 6;
const sample = smallSequences(architecture, 8, sequenceLength);
const base = "b".repeat(64);
const inner = { learningRate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, clipNorm: 1, optimizer: "adamw" };

describe("a trainer of the operator's", function () {
  this.timeout(60_000);
  let directory: string;
  let better: Map<string, Float32Array>;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-trainer-"));
    const options = { architecture, weights, trainable: selected.map(({ name }) => name), optimizer: inner };
    const trainer = await openTrainer({ ...options, sequenceLength, batchSequences: 8, threads: 1 });
    for (let step = 0; step < 10; step++) await trainer.step([sample]);
    better = await trainer.weights();
    trainer.dispose();
  });
  after(() => rm(directory, { recursive: true }));

  interface Change {
    readonly tensors?: ReadonlyMap<string, Float32Array>;
    readonly base?: string;
    readonly dtype?: FloatDtype;
    readonly shape?: readonly number[];
  }

  /** A result as a file: the better weights, or something else. */
  async function result({ tensors = better, base: named = base, dtype = "F32", shape }: Change = {}): Promise<string> {
    const path = join(directory, "given.safetensors");
    const entries = [...tensors].map(([name, values]) => ({
      name,
      dtype,
      shape: shape ?? specs.find((spec) => spec.name === name)?.shape ?? [values.length],
      data: fromFloat32(dtype, values),
    }));
    await writeSafetensors(path, entries, { base: named });
    return path;
  }

  const run = (mode: string, file: string, changes: Partial<ExternalTraining> = {}) =>
    trainExternally({
      command: [process.execPath, program, mode, file],
      directory: join(directory, "job"),
      task: { inner, data: { sequenceLength, domains: [{ name: "d" }] } } as unknown as Task,
      taskHash: "a".repeat(64),
      ...{ cycle: 3, group: 1, base, architecture, weights, sample, seed: 7, threads: 1 },
      config: Buffer.from("{}"),
      tokenizer: Buffer.from("{}"),
      shapes: new Map(specs.map(({ name, shape }) => [name, shape])),
      selected: selected.map(({ name, shape }) => ({ role: "expert", name, shape, dtype: "F32" }) as unknown as Piece),
      data: [{ domain: "d", file: "/shard", offset: 0, dtype: "u16", sequences: 8, sha256: "c".repeat(64) }],
      opens: new Date(0),
      deadline: new Date(0),
      finish: new AbortController().signal,
      signal: new AbortController().signal,
      progress: silentProgress,
      graceSeconds: 10,
      silenceSeconds: 20,
      ...changes,
    });

  it("is given a job that its schema describes, and its result is measured again", async () => {
    const steps: unknown[] = [];
    const outcome = await run("good", await result(), { onStep: (step) => steps.push(step) });
    assert.deepEqual([...outcome.trained.keys()].sort(), [...better.keys()].sort());
    for (const [name, values] of better) assert.deepEqual(outcome.trained.get(name), values);
    assert.deepEqual({ steps: outcome.steps, tokens: outcome.tokens, said: steps.length }, { steps: 2, tokens: 200, said: 2 });
    assert.ok(outcome.loss < outcome.lossBefore);
    const job = JSON.parse(await readFile(join(directory, "job/job.json"), "utf8"));
    assert.ok(v.is(trainingJobSchema, job), JSON.stringify(v.safeParse(trainingJobSchema, job).issues));
  });

  it("is told the places that count, and what it changes elsewhere is nobody's", async () => {
    const places = new Map(selected.map(({ name, shape }) => [name, Uint32Array.of(0, (shape[0] as number) + 1)]));
    const { trained } = await run("good", await result(), { places });
    for (const [name, values] of trained) {
      const expected = (weights.get(name) as Float32Array).slice();
      for (const index of places.get(name) as Uint32Array) expected[index] = better.get(name)?.[index] as number;
      assert.deepEqual(values, expected);
    }
    const job = JSON.parse(await readFile(join(directory, "job/job.json"), "utf8"));
    assert.ok(v.is(trainingJobSchema, job));
    assert.equal(job.hyperparameters.learningRate, inner.learningRate * placeRate);
    const { tensors } = await readHeader(job.places as string);
    assert.deepEqual([...tensors.keys()].sort(), selected.map(({ name }) => name).sort());
    const { offset, bytes } = tensors.values().next().value as { offset: number; bytes: number };
    const mask = (await readFile(job.places as string)).subarray(offset, offset + bytes);
    assert.deepEqual(
      [...mask].flatMap((bit, index) => (bit === 1 ? [index] : [])),
      [...(places.get([...tensors.keys()][0] as string) as Uint32Array)],
    );
  });

  it("is told what to train on first, and finds it where the job says", async () => {
    const rowBytes = 2 * (sequenceLength + 1);
    const files = await Promise.all(
      ["one", "other"].map(async (name) => {
        const path = join(directory, name);
        await writeFile(path, randomBytes(9 * rowBytes));
        return path;
      }),
    );
    const data = files.map((file, place) => ({
      ...{ domain: "d", file, offset: place * rowBytes, dtype: "u16" as const, sequences: 8, sha256: "c".repeat(64) },
    }));
    const notes: string[] = [];
    const progress = { ...silentProgress, note: (text: string) => void notes.push(text) };
    const walk = [
      [1, 7],
      [0, 3],
      [1, 0],
      [0, 3],
    ] as const;
    await run("walks", await result(), { data, walk, progress });
    const bytes = await Promise.all(files.map((file) => readFile(file)));
    const rows = walk.map(([part, row]) => bytes[part]?.subarray((part + row) * rowBytes, (part + row + 1) * rowBytes) as Buffer);
    assert.deepEqual(notes, [`4 sequences: ${createHash("sha256").update(Buffer.concat(rows)).digest("hex")}`]);
    const job = JSON.parse(await readFile(join(directory, "job/job.json"), "utf8"));
    assert.ok(v.is(trainingJobSchema, job));
  });

  it("finds the job's schema in the documentation", async () => {
    const { toJsonSchema } = await import("@valibot/to-json-schema");
    const written = JSON.parse(await readFile(new URL("../../../docs/training-job.schema.json", import.meta.url), "utf8"));
    assert.deepEqual(written, JSON.parse(JSON.stringify(toJsonSchema(trainingJobSchema))));
  });

  it("may answer in bf16, and with some of the tensors", async () => {
    const some = new Map([...better].slice(0, 2));
    assert.deepEqual(
      [...(await run("good", await result({ tensors: some, dtype: "BF16" }))).trained.keys()].sort(),
      [...some.keys()].sort(),
    );
  });

  it("saves and finishes when the window ends", async () => {
    const finish = new AbortController();
    const outcome = await run("until-asked", await result(), {
      finish: finish.signal,
      onStep: ({ step }) => {
        if (step === 3) finish.abort();
      },
    });
    assert.ok(outcome.steps >= 3);
  });

  it("goes on from its own checkpoint after SIGKILL", async () => {
    const file = await result();
    await assert.rejects(run("dies-once", file), (error: unknown) => failure("trainer-failed", { retryable: true })(error));
    assert.equal((await run("dies-once", file)).steps, 6);
  });

  const first = () => [...better][0] as [string, Float32Array];
  const lies: [string, () => Change, RegExp][] = [
    ["names another base", () => ({ base: "c".repeat(64) }), /does not name the base/],
    ["gives nothing", () => ({ tensors: new Map() }), /nothing changed/],
    ["changes what is frozen", () => ({ tensors: new Map([["model.norm.weight", new Float32Array(7).fill(1)]]) }), /was not to be trained/],
    ["gives another shape", () => ({ tensors: new Map([first()]), shape: [first()[1].length] }), /is F32 \[35\], not a float/],
    ["gives NaN", () => ({ tensors: new Map([[first()[0], first()[1].map(() => Number.NaN)]]) }), /NaN or infinite/],
    ["gives infinity", () => ({ tensors: new Map([[first()[0], first()[1].map(() => Number.POSITIVE_INFINITY)]]) }), /NaN or infinite/],
  ];
  for (const [what, change, message] of lies) {
    it(`that ${what} is not believed`, async () => {
      const file = await result(change());
      await assert.rejects(run("good", file), (error: unknown) => {
        failure("trainer-result-invalid")(error);
        assert.match((error as Error).message, message);
        return true;
      });
    });
  }

  it("that claims a falling loss is measured, and not believed", async () => {
    const worse = new Map([...better].map(([name, values]) => [name, values.map((value) => value + 3)]));
    await assert.rejects(run("good", await result({ tensors: worse })), failure("trainer-result-worse"));
    await assert.rejects(
      run("good", await result({ tensors: new Map([[first()[0], weights.get(first()[0]) as Float32Array]]) })),
      failure("trainer-result-worse"),
    );
  });

  it("that ends with an error is quoted, as far as one can read", async () => {
    for (const [code, retryable] of [
      ["3", false],
      ["75", true],
    ] as const) {
      await assert.rejects(run("fails", code), (error: unknown) => {
        failure("trainer-failed", { retryable })(error);
        assert.match((error as Error).message, /ended with exit code \d+:\nx+\nout of memory$/);
        assert.ok((error as Error).message.length < 5000);
        return true;
      });
    }
  });

  it("that gave its result counts, however it ended", async () => {
    assert.equal((await run("gives-and-fails", await result())).steps, 1);
  });

  it("that has worked for a step before it failed may be tried again", async () => {
    await assert.rejects(run("works-and-fails", ""), failure("trainer-failed", { retryable: true }));
  });

  it("that says nothing, does not stop, or floods its output is killed", async () => {
    await assert.rejects(run("silent", "", { silenceSeconds: 0.5 }), /said nothing for too long/);
    const finish = new AbortController();
    const deaf = run("deaf", "", { finish: finish.signal, graceSeconds: 0.4, onStep: () => finish.abort() });
    await assert.rejects(deaf, /did not end in time/);
    await assert.rejects(run("flood", ""), /printed without end/);
  });

  it("that is asked to finish before its first step has missed the deadline, and is not tried again", async () => {
    const missed = failure("deadline-missed", { exit: 21, retryable: false });
    await assert.rejects(run("until-asked", await result(), { finish: AbortSignal.abort() }), missed);
    const finish = new AbortController();
    const progress = { ...silentProgress, note: () => finish.abort() };
    await assert.rejects(run("loads-until-asked", "", { finish: finish.signal, progress }), (error: unknown) => {
      assert.match((error as Error).message, /before a step was done\. .* ended with exit code 75\.$/);
      return missed(error);
    });
  });

  it("that was asked to finish and gives nothing is not tried again", async () => {
    const finish = new AbortController();
    const running = run("works-and-fails", "", { finish: finish.signal, onStep: () => finish.abort() });
    await assert.rejects(running, failure("trainer-failed", { retryable: false }));
  });

  it("is stopped with the command, for its reason", async () => {
    const reason = new Error("asked to stop");
    const stop = new AbortController();
    const running = run("until-asked", await result(), { signal: stop.signal, onStep: () => stop.abort(reason) });
    await assert.rejects(running, reason);
  });

  it("gets no settings of connito, where passwords may stand", async () => {
    process.env["CONNITO_TEST_SECRET"] = "x";
    const notes: string[] = [];
    try {
      await run("environment", await result(), { progress: { ...silentProgress, note: (text) => void notes.push(text) } });
    } finally {
      delete process.env["CONNITO_TEST_SECRET"];
    }
    assert.deepEqual(notes, ["nothing"]);
  });

  it("that is not there is named", async () => {
    await assert.rejects(run("good", "", { command: ["./no-such-trainer"] }), failure("program-not-started"));
  });
});
