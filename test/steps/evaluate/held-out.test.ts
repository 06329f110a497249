import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { publishToDirectory } from "../../../src/exchange/directory.ts";
import { canonicalJson, documentHash } from "../../../src/protocol/canonical.ts";
import type { TokenData } from "../../../src/protocol/token-data.ts";
import type { Context } from "../../../src/steps/context.ts";
import { knownDraw } from "../../../src/steps/evaluate/held-out.ts";
import type { Membership } from "../../../src/steps/membership.ts";
import { silentProgress } from "../../../src/ui/progress.ts";
import { openWorkspace, type Workspace } from "../../../src/workspace/workspace.ts";
import { exampleTask, hash } from "../../protocol/support.ts";
import { failsWith, inTemporaryDirectory } from "../../workspace/support.ts";

const documents = [40, 60].map(
  (sequences): TokenData => ({
    format: "connito/token-data/1",
    tokenizer: hash("tokenizer"),
    sequenceLength: 256,
    dtype: "u16",
    documents: 1,
    textBytes: 1,
    sequences,
    shards: [{ hash: hash(`shard of ${sequences}`), sequences }],
  }),
);
const example = exampleTask();
const domains = example.data.domains.map((domain, index) => ({ ...domain, heldOut: documentHash(documents[index]) }));
const membership: Membership = { task: { ...example, data: { ...example.data, domains } }, taskHash: hash("task") };

/** A reader, a validator or not, whose only peer is a directory that may hold the documents, or not exist. */
async function withReader(
  role: "validator" | "miner",
  peer: "full" | "empty" | "away",
  work: (available: () => Promise<readonly number[] | undefined>, workspace: Workspace) => Promise<void>,
): Promise<void> {
  await inTemporaryDirectory(async (directory) => {
    const published = join(directory, "peer");
    if (peer !== "away") await mkdir(published);
    if (peer === "full")
      for (const document of documents) await publishToDirectory(published, `/objects/${documentHash(document)}`, canonicalJson(document));
    const workspace = await openWorkspace(join(directory, "reader"), { lock: true });
    const neuron = { hotkey: "reader", uid: 0, stake: 10n ** 9n, validatorPermit: role === "validator", registeredAt: 1 };
    const context = {
      workspace,
      chain: {
        subnetOwnerHotkey: async () => "owner",
        neurons: async () => [neuron],
        commitments: async () => [],
        blockHash: async () => hash("block"),
      },
      clock: { now: async () => ({ finalized: { number: 9, hash: "00" } }) },
      netuid: 3,
      signer: { address: "reader" },
      peers: [`file:${published}`],
      progress: silentProgress,
      signal: new AbortController().signal,
    } as unknown as Context;
    try {
      await work(async () => (await knownDraw(context, membership, 0)).available, workspace);
    } finally {
      await workspace.close();
    }
  });
}

describe("what a reader knows of a draw", () => {
  it("has the held-out data's sizes for validators, and for others only where they have the documents", async () => {
    await withReader("validator", "full", async (available) => assert.deepEqual(await available(), [40, 60]));
    await withReader("miner", "full", async (available, { objects }) => {
      assert.equal(await available(), undefined);
      await objects.put(canonicalJson(documents[0]));
      assert.equal(await available(), undefined);
      await objects.put(canonicalJson(documents[1]));
      assert.deepEqual(await available(), [40, 60]);
    });
  });

  it("is not less for a validator because of trouble that passes: that is thrown", async () => {
    await withReader("validator", "empty", async (available) => void (await failsWith("object-not-found", available())));
    await withReader("validator", "away", async (available) => void (await failsWith("peer-unreachable", available())));
    await withReader("miner", "away", async (available) => assert.equal(await available(), undefined));
  });
});
