import assert from "node:assert/strict";
import { mkdir, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hashFields, u32 } from "../../src/protocol/hash.ts";
import { pruneCycles } from "../../src/steps/distribute/prune-cycles.ts";
import { gradientsOf, noteGradient } from "../../src/steps/evaluate/gradients.ts";
import { findSubmission, noteSubmission } from "../../src/steps/train/submissions.ts";
import { openWorkspace, type Workspace } from "../../src/workspace/workspace.ts";
import { inTemporaryDirectory } from "../workspace/support.ts";

const signal = new AbortController().signal;
const rootOf = (cycle: number) => hashFields("submission", u32(cycle));
const cycles = [0, 1, 2, 3, 4, 5, 6];

/** A validator's state after seven cycles: of each a submission of 100 bytes, a gradient of 40, and what was said of them. */
async function afterCycles(directory: string): Promise<{ workspace: Workspace; gradients: string[]; evidence: string }> {
  const workspace = await openWorkspace(join(directory, "state"), { lock: true });
  const { layout, objects } = workspace;
  await mkdir(layout.submissions, { recursive: true });
  await mkdir(layout.partial, { recursive: true });
  const gradients: string[] = [];
  for (const cycle of cycles) {
    await writeFile(layout.submission(rootOf(cycle)), new Uint8Array(100));
    await noteSubmission(workspace, { root: rootOf(cycle), cycle, bytes: 100 });
    const hash = await objects.put(new Uint8Array(40).fill(cycle));
    gradients.push(hash);
    await noteGradient(workspace, cycle, hash);
    await noteGradient(workspace, cycle, hash);
    await writeFile(layout.cycle(cycle, "merge.json"), "{}");
  }
  return { workspace, gradients, evidence: await objects.put(Buffer.from("evidence")) };
}

const present = async <T>(list: readonly T[], isHere: (one: T, index: number) => Promise<unknown>) => {
  const here = await Promise.all(list.map(isHere));
  return cycles.filter((_, index) => here[index]);
};

describe("pruning of cycles", () => {
  it("removes submissions and gradients of cycles long past, and nothing that was said of them", () =>
    inTemporaryDirectory(async (directory) => {
      const { workspace, gradients, evidence } = await afterCycles(directory);
      const { layout, objects } = workspace;
      assert.equal(await pruneCycles({ workspace, signal }, 4), 0);
      assert.equal(await pruneCycles({ workspace, signal }, 6), 2 * (100 + 40));
      const kept = [2, 3, 4, 5, 6];
      assert.deepEqual(await present(cycles, (cycle) => findSubmission(workspace, rootOf(cycle))), kept);
      assert.deepEqual(await present(gradients, (hash) => objects.has(hash)), kept);
      assert.deepEqual(
        (await Promise.all(cycles.map((cycle) => gradientsOf(workspace, cycle)))).map((list) => list.length),
        [0, 0, 1, 1, 1, 1, 1],
      );
      assert.deepEqual((await readdir(layout.submissions)).length, 2 * kept.length);
      assert.ok(await objects.has(evidence));
      for (const cycle of cycles) assert.deepEqual((await readdir(layout.cycle(cycle))).includes("merge.json"), true);
      assert.equal(await pruneCycles({ workspace, signal }, 6), 0);
    }));

  it("goes on where it was stopped, and leaves alone what it does not know", () =>
    inTemporaryDirectory(async (directory) => {
      const { workspace, gradients } = await afterCycles(directory);
      const { layout, objects } = workspace;
      await rm(layout.submission(rootOf(0)));
      await objects.remove(gradients[0] as string);
      await writeFile(join(layout.submissions, "README.json"), "{}");
      await writeFile(layout.submission(hashFields("submission without a note")), "");
      await mkdir(join(layout.cycles, "of another kind"));
      assert.equal(await pruneCycles({ workspace, signal }, 5), 100);
      assert.equal(await findSubmission(workspace, rootOf(0)), undefined);
      assert.deepEqual(await gradientsOf(workspace, 0), []);
      assert.equal((await readdir(layout.submissions)).length, 2 * 6 + 2);
    }));

  it("removes downloads that nobody has gone on with for a day", () =>
    inTemporaryDirectory(async (directory) => {
      const { workspace } = await afterCycles(directory);
      const [old, young] = [hashFields("old"), hashFields("young")].map((hash) => `${workspace.layout.partialObject(hash)}.partial`) as [
        string,
        string,
      ];
      for (const file of [old, young]) await writeFile(file, new Uint8Array(7));
      const yesterday = Date.now() / 1000 - 25 * 60 * 60;
      await utimes(old, yesterday, yesterday);
      assert.equal(await pruneCycles({ workspace, signal }, 0), 7);
      assert.deepEqual(await readdir(workspace.layout.partial), [young.slice(workspace.layout.partial.length + 1)]);
    }));
});
