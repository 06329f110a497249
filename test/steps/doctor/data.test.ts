import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { canonicalJson } from "../../../src/protocol/canonical.ts";
import type { Task } from "../../../src/protocol/task.ts";
import { checkData } from "../../../src/steps/doctor/data.ts";
import { openWorkspace } from "../../../src/workspace/workspace.ts";
import { inTemporaryDirectory } from "../../workspace/support.ts";

/** A document of three shards, the last shorter, and the shards: two tokens of two bytes in each sequence. */
function tokens(seed: number) {
  const shards = [2, 2, 1].map((sequences, index) => ({ bytes: new Uint8Array(4 * sequences).fill(10 * seed + index), sequences }));
  const document = (hashes: readonly string[]) => ({
    format: "connito/token-data/1",
    tokenizer: "ab".repeat(32),
    sequenceLength: 1,
    dtype: "u16",
    documents: 1,
    textBytes: 20,
    sequences: 5,
    shards: shards.map(({ sequences }, index) => ({ hash: hashes[index], sequences })),
  });
  return { shards, document };
}

describe("doctor's look at the data", () => {
  it("tells what is here, what is not and what is no longer what it was, by role", () =>
    inTemporaryDirectory(async (directory) => {
      const workspace = await openWorkspace(directory, { lock: true });
      const { objects, layout } = workspace;
      const sides = await Promise.all(
        [1, 2].map(async (seed) => {
          const { shards, document } = tokens(seed);
          const hashes = await Promise.all(shards.map(({ bytes }) => objects.put(bytes)));
          return { hashes, document: await objects.put(canonicalJson(document(hashes))) };
        }),
      );
      const [train, heldOut] = sides as [(typeof sides)[0], (typeof sides)[0]];
      const task = { data: { domains: [{ name: "novel", train: train.document, heldOut: heldOut.document }] } } as unknown as Task;
      const places = { objects, fetch: async () => undefined, signal: new AbortController().signal };
      const look = async (role: "miner" | "validator" | "owner") =>
        (await checkData(task, role, places)).map(({ check, state }) => [check, state]);
      const both = (one: string, other: string) => [
        ["training data", one],
        ["held-out data", other],
      ];

      assert.deepEqual(await look("owner"), both("ok", "ok"));
      await objects.remove(heldOut.hashes[2] as string);
      assert.deepEqual(await look("owner"), both("ok", "failed"));
      assert.deepEqual(await look("validator"), both("ok", "ok"));
      await writeFile(layout.object(train.hashes[0] as string), new Uint8Array(8));
      const [corrupt] = await checkData(task, "miner", places);
      assert.deepEqual([corrupt?.state, corrupt?.found.includes("1 of them not what their hashes say")], ["warning", true]);
      // who opened the directory for writing has dropped it: now it is away
      const [rest] = await checkData(task, "miner", places);
      assert.match(rest?.found ?? "", /2 of 3 shards here \(12 B\), all as their hashes say; 8 B are fetched/);
      await objects.remove(heldOut.document);
      assert.deepEqual(await look("validator"), both("ok", "warning"));
      assert.deepEqual(await look("owner"), both("failed", "failed"));
      await workspace.close();
    }));

  it("takes the list of shards from whoever delivers it", () =>
    inTemporaryDirectory(async (directory) => {
      const workspace = await openWorkspace(join(directory, "own"), { lock: true });
      const { document } = tokens(1);
      const bytes = canonicalJson(document(["1", "2", "3"].map((digit) => digit.repeat(64))));
      const task = { data: { domains: [{ name: "novel", train: "ab".repeat(32), heldOut: "cd".repeat(32) }] } } as unknown as Task;
      const { objects } = workspace;
      const [found] = await checkData(task, "miner", { objects, fetch: async () => bytes, signal: new AbortController().signal });
      assert.deepEqual([found?.state, found?.found], ["unknown", "3 shards, 20 B are fetched as they are wanted"]);
      await workspace.close();
    }));
});
