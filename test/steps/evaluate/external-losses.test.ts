import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import { createStreamEvaluator } from "../../../src/engine/layers/stream-evaluator.ts";
import { type ScoringAnswer, scoringJobSchema } from "../../../src/external/scoring-job.ts";
import { listWeights } from "../../../src/model/families/index.ts";
import { type Tensors, tensorsOf } from "../../../src/model/tensors.ts";
import { type ExternalLosses, measureExternally } from "../../../src/steps/evaluate/external-losses.ts";
import type { HeldOutSequence } from "../../../src/steps/evaluate/held-out.ts";
import type { Losses, MeasureLosses } from "../../../src/steps/evaluate/measure-losses.ts";
import { silentProgress } from "../../../src/ui/progress.ts";
import { smallOlmoe, smallSequences, smallWeights } from "../../engine/small-models.ts";

const program = fileURLToPath(new URL("fixture/scorer.mjs", import.meta.url));
const architecture = smallOlmoe;
const weights = smallWeights(architecture);
const sequenceLength = 7;
const base = "b".repeat(64);
const sequences: HeldOutSequence[] = smallSequences(architecture, 6, sequenceLength).map((tokens, index) => ({ domain: 0, index, tokens }));
const deltas = (size: number): Tensors => {
  const names = listWeights(architecture).flatMap(({ name, expert, layer }) => (expert === 1 && layer === 1 ? [name] : []));
  return tensorsOf(new Map(names.map((name) => [name, (weights.get(name) as Float32Array).map((value) => size * value)])));
};
const candidates = [deltas(0.1), deltas(-0.2)];
const load = async (names: readonly string[]) => new Map(names.map((name) => [name, weights.get(name) as Float32Array]));

describe("a scorer of the operator's", function () {
  this.timeout(60_000);
  let directory: string;
  let right: ScoringAnswer;
  const evaluator = createStreamEvaluator({ architecture, sequenceLength, batchSequences: 8, threads: 1, load });
  const engine: MeasureLosses = (wanted, models = []) =>
    evaluator.losses(
      wanted.map(({ tokens }) => tokens),
      models.map((own) => ({
        layers: [1],
        tensors: async (_layer, before) => {
          const changed = new Map<string, Float32Array>();
          for (const name of own.sizes.keys()) {
            const delta = await own.read(name);
            changed.set(
              name,
              (before.get(name) as Float32Array).map((value, index) => value + (delta[index] as number)),
            );
          }
          return changed;
        },
      })),
    );

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-scorer-"));
    const measured = await engine(sequences, candidates);
    const rows = [measured.base, ...measured.candidates].map((losses) => [...losses]);
    right = { base, losses: { base: rows[0]!, "candidate-0": rows[1]!, "candidate-1": rows[2]! } };
  });
  after(async () => {
    evaluator.dispose();
    await rm(directory, { recursive: true });
  });

  /** What is measured with a program that behaves so, asked twice, and the codes of what was noted meanwhile. */
  const run = async (mode: string, answer: unknown = right, changes: Partial<ExternalLosses> = {}) => {
    const notes: unknown[] = [];
    const file = join(directory, "given.json");
    await writeFile(file, typeof answer === "string" ? answer : JSON.stringify(answer));
    const external = measureExternally({
      command: [process.execPath, program, mode, file],
      directory: join(directory, "job"),
      ...{ base, architecture, sequenceLength, load, engine },
      config: Buffer.from("{}"),
      tokenizer: Buffer.from("{}"),
      progress: { ...silentProgress, note: (_text, fields) => void notes.push(fields?.["code"]) },
      signal: new AbortController().signal,
      silenceSeconds: 20,
      ...changes,
    });
    const measured = [await external.losses(sequences, candidates), await external.losses(sequences, candidates)];
    return { measured, notes };
  };
  const rowsOf = ({ base: own, candidates: others }: Losses) => [[...own], ...others.map((one) => [...one])];
  /** The right losses all the same, and why the program's were not taken. */
  const assertMeasuredByEngine = ({ measured, notes }: Awaited<ReturnType<typeof run>>, codes: readonly string[]) => {
    assert.deepEqual(notes, codes);
    for (const losses of measured) assert.deepEqual(rowsOf(losses), Object.values(right.losses));
  };
  const losses = (change: (losses: Record<string, (number | null)[]>) => void): ScoringAnswer => {
    const copy = structuredClone(right);
    change(copy.losses);
    return copy;
  };

  it("is given a job that its schema describes, and its answer is taken where the engine's sample agrees", async () => {
    // In the sixth digit another device may differ: so it shows whose losses these are.
    const nearly = losses((all) => {
      for (const name of Object.keys(all)) all[name] = all[name]!.map((loss) => loss! + 1e-6);
    });
    const { measured, notes } = await run("gives", nearly);
    assert.deepEqual(notes, []);
    assert.deepEqual(measured.map(rowsOf), [Object.values(nearly.losses), Object.values(nearly.losses)]);
    const job = JSON.parse(await readFile(join(directory, "job/job.json"), "utf8"));
    assert.ok(v.is(scoringJobSchema, job), JSON.stringify(v.safeParse(scoringJobSchema, job).issues));
    const external = measureExternally({ directory: join(directory, "job") } as unknown as ExternalLosses);
    await external.close();
    assert.deepEqual(await readdir(directory), ["given.json"]);
  });

  it("finds the job's schema in the documentation", async () => {
    const { toJsonSchema } = await import("@valibot/to-json-schema");
    const written = JSON.parse(await readFile(new URL("../../../docs/scoring-job.schema.json", import.meta.url), "utf8"));
    assert.deepEqual(written, JSON.parse(JSON.stringify(toJsonSchema(scoringJobSchema))));
  });

  const lies: [string, () => unknown, string][] = [
    [
      "says less of the base than is so",
      () => losses((all) => (all["base"] = all["base"]!.map((loss) => loss! - 0.01))),
      "scorer-disagrees",
    ],
    [
      "favours a candidate by a little",
      () => losses((all) => (all["candidate-1"] = all["candidate-1"]!.map((loss) => loss! - 0.001))),
      "scorer-disagrees",
    ],
    ["calls finite losses infinite", () => losses((all) => (all["candidate-0"] = all["candidate-0"]!.map(() => null))), "scorer-disagrees"],
    ["leaves a candidate out", () => losses((all) => delete all["candidate-1"]), "scorer-answer-invalid"],
    ["answers for one that nobody asked for", () => losses((all) => (all["candidate-2"] = all["base"]!)), "scorer-answer-invalid"],
    ["answers for fewer sequences", () => losses((all) => all["base"]!.pop()), "scorer-answer-invalid"],
    ["measured another version", () => ({ ...right, base: "c".repeat(64) }), "scorer-answer-invalid"],
    ["answers with no numbers", () => JSON.stringify(right).replace(/\d\.\d+/, "NaN"), "scorer-answer-invalid"],
    ["answers without end", () => "[".repeat(100_000), "scorer-answer-invalid"],
  ];
  for (const [what, answer, code] of lies) {
    it(`that ${what} is not believed, and not asked again`, async () => assertMeasuredByEngine(await run("gives", answer()), [code]));
  }

  it("that gives nothing, hangs, floods its output or is gone is named, and the engine goes on", async () => {
    assertMeasuredByEngine(await run("nothing"), ["scorer-answer-invalid"]);
    assertMeasuredByEngine(await run("hangs", right, { silenceSeconds: 0.5 }), ["scorer-failed"]);
    assertMeasuredByEngine(await run("floods"), ["scorer-failed"]);
    assertMeasuredByEngine(await run("gives", right, { command: ["./no-such-scorer"] }), ["program-not-started"]);
  });

  it("that only died is asked again for the next sequences", async () => {
    assertMeasuredByEngine(await run("dies"), ["scorer-failed", "scorer-failed"]);
  });

  it("ends with the step that is stopped", async () => {
    const stopped = AbortSignal.abort(new Error("stopped"));
    await assert.rejects(run("hangs", right, { signal: stopped }), /stopped/);
  });

  it("does not hide what is wrong with this machine", async () => {
    await writeFile(join(directory, "file"), "");
    await assert.rejects(run("gives", right, { directory: join(directory, "file") }));
    await rm(join(directory, "file"));
  });
});
