import assert from "node:assert/strict";
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint } from "../../../src/model/checkpoint.ts";
import { familyNamed } from "../../../src/model/families/index.ts";
import { indexCheckpoint } from "../../../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../../../src/model/initialize.ts";
import { measureBase, measurementId } from "../../../src/steps/distribute/measure-base.ts";
import type { MeasuredModel } from "../../../src/steps/distribute/select-experts.ts";
import { silentProgress } from "../../../src/ui/progress.ts";
import { openWorkspace, type Workspace } from "../../../src/workspace/workspace.ts";

const sequenceLength = 8;
const vocabularySize = 257;

describe("steps/distribute/measure-base", () => {
  let directory: string;
  let workspace: Workspace;
  let measured: MeasuredModel;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-measure-"));
    const sizes = { vocabularySize, hiddenSize: 16, layers: 2, heads: 2, keyValueHeads: 1, intermediateSize: 16 };
    const config = familyNamed("qwen3_moe").newConfig?.({ ...sizes, experts: 4, expertsPerToken: 2, normalizeTopK: true });
    await initializeCheckpoint({ directory: join(directory, "base"), config: config ?? {}, seed: "measure" });
    const checkpoint = await openCheckpoint(join(directory, "base"));
    const sequences = Array.from({ length: 3 }, (_, sequence) =>
      Int32Array.from({ length: sequenceLength + 1 }, (_, at) => (7 * at + 31 * sequence) % vocabularySize),
    );
    measured = {
      checkpoint,
      indexed: await indexCheckpoint(checkpoint),
      sample: [{ name: "a", sequences }],
      sequenceLength,
      threads: 1,
      scratchDirectory: directory,
      signal: new AbortController().signal,
    };
    workspace = await openWorkspace(join(directory, "state"), { lock: true });
  });
  after(async () => {
    await workspace.close();
    await rm(directory, { recursive: true });
  });

  /** What was measured, and whether it was now. */
  async function measure(more: Partial<MeasuredModel> = {}) {
    let now = false;
    const notes: string[] = [];
    const progress = { ...silentProgress, start: () => (now = true), note: (text: string) => void notes.push(text) };
    const { statistics, lossSeconds } = await measureBase({ workspace, progress }, { ...measured, ...more });
    return { statistics, lossSeconds, now, notes };
  }

  const keptFile = () => workspace.layout.measurement(measurementId(measured));

  it("takes what was measured before, and its pace where it has as many threads", async () => {
    const first = await measure();
    const again = await measure();
    assert.deepEqual([first.now, again.now], [true, false]);
    assert.deepEqual(again.statistics, first.statistics);
    assert.ok((first.lossSeconds as number) > 0);
    assert.equal(again.lossSeconds, first.lossSeconds);
    const others = await measure({ threads: 2 });
    assert.deepEqual([others.now, others.lossSeconds], [false, undefined]);
    assert.deepEqual(others.statistics, first.statistics);
  });

  for (const [what, damage] of [
    ["torn", (file: string) => truncateSync(file, 100)],
    ["too large", (file: string) => truncateSync(file, 2 ** 28 + 1)],
    ["without a number", (file: string) => writeFileSync(file, readFileSync(file, "utf8").replace(/"energy":\[\d+/, '"energy":[null'))],
    [
      "without a pace",
      (file: string) => writeFileSync(file, readFileSync(file, "utf8").replace(/"lossSeconds":[^,]+/, '"lossSeconds":null')),
    ],
  ] as const) {
    it(`measures again where what was kept is ${what}, and says so`, async () => {
      const { statistics } = await measure();
      damage(keptFile());
      const again = await measure();
      assert.ok(again.now);
      assert.match(again.notes.join(), /measured again/);
      assert.deepEqual(again.statistics, statistics);
      assert.equal((await measure()).now, false);
    });
  }

  it("names a sample of very many sequences", () => {
    const sequence = measured.sample[0]?.sequences[0] as Int32Array;
    const sample = [{ name: "a", sequences: Array.from({ length: 300_000 }, () => sequence) }];
    assert.match(measurementId({ ...measured, sample }), /^[0-9a-f]{64}$/);
  });

  it("keeps one file for a base and its sequences", async () => {
    await measure();
    assert.equal(readdirSync(join(directory, "state", "measurements")).length, 1);
  });
});
