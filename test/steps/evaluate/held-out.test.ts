import assert from "node:assert/strict";
import { publishToDirectory } from "../../../src/exchange/directory.ts";
import { canonicalJson, documentHash } from "../../../src/protocol/canonical.ts";
import type { TokenData } from "../../../src/protocol/token-data.ts";
import type { Context } from "../../../src/steps/context.ts";
import { knownDraw } from "../../../src/steps/evaluate/held-out.ts";
import type { Membership } from "../../../src/steps/membership.ts";
import { exampleTask, hash } from "../../protocol/support.ts";
import { failsWith } from "../../workspace/support.ts";
import { withReader } from "./reader.ts";

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

const published = async (directory: string) => {
  for (const document of documents) await publishToDirectory(directory, `/objects/${documentHash(document)}`, canonicalJson(document));
};
const available = async (context: Context) => (await knownDraw(context, membership, 0)).available;

describe("what a reader knows of a draw", () => {
  it("has the held-out data's sizes for validators, and for others only where they have the documents", async () => {
    await withReader({ role: "validator" }, async ({ context, published: directory }) => {
      await published(directory);
      assert.deepEqual(await available(context), [40, 60]);
    });
    await withReader({ role: "miner" }, async ({ context, published: directory }) => {
      await published(directory);
      const { objects } = context.workspace;
      assert.equal(await available(context), undefined);
      await objects.put(canonicalJson(documents[0]));
      assert.equal(await available(context), undefined);
      await objects.put(canonicalJson(documents[1]));
      assert.deepEqual(await available(context), [40, 60]);
    });
  });

  it("is not less for a validator because of trouble that passes: that is thrown", async () => {
    await withReader({ role: "validator" }, async ({ context }) => void (await failsWith("object-not-found", available(context))));
    await withReader({ role: "validator", away: true }, async ({ context }) => {
      await failsWith("peer-unreachable", available(context));
    });
    await withReader({ role: "miner", away: true }, async ({ context }) => assert.equal(await available(context), undefined));
  });
});
