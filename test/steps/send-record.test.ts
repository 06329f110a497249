import assert from "node:assert/strict";
import { join } from "node:path";
import { ConnitoError } from "../../src/errors.ts";
import { fromHex, toHex } from "../../src/protocol/hash.ts";
import type { Context } from "../../src/steps/context.ts";
import { sendRecord } from "../../src/steps/send-record.ts";
import { openJournal } from "../../src/workspace/journal.ts";
import { inTemporaryDirectory } from "../workspace/support.ts";

const key = "commit/3";

/** A participant whose journal is real and whose chain is a list of the records it was sent; `send` decides what becomes of one. */
async function participant(path: string, send: (record: string) => Promise<{ block: number }>) {
  const journal = await openJournal(path, { create: true });
  const sent: string[] = [];
  const chain = {
    setCommitment: async (_signer: unknown, _netuid: number, record: Uint8Array) => {
      sent.push(toHex(record));
      return send(toHex(record));
    },
  };
  const context = { workspace: { journal }, chain, netuid: 1, signal: new AbortController().signal } as unknown as Context;
  return { journal, sent, context };
}

/** Prepares a new record at every call, as one with a fresh salt would be. */
function preparing() {
  let calls = 0;
  const prepare = async () => {
    calls += 1;
    return { record: fromHex(`0${calls}`), notes: { root: `root ${calls}` } };
  };
  return { prepare, calls: () => calls };
}

describe("sending a record", () => {
  it("has the record and its notes in the journal before the chain sees it, and the block after", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      let notedWhenSent: unknown;
      const { context, journal } = await participant(path, async () => {
        const reader = await openJournal(path, { readOnly: true });
        notedWhenSent = reader.find(key).intent?.data;
        await reader.close();
        return { block: 40 };
      });
      const { prepare } = preparing();
      assert.deepEqual(await sendRecord(context, { key, prepare }), { block: 40, alreadyDone: false });
      assert.deepEqual(notedWhenSent, { root: "root 1", record: "01" });
      assert.deepEqual(journal.find(key).effect?.data, { block: 40 });
      await journal.close();
    }));

  it("sends nothing again that stands on the chain, also after a restart", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const { prepare, calls } = preparing();
      const first = await participant(path, async () => ({ block: 40 }));
      await sendRecord(first.context, { key, prepare });
      await first.journal.close();
      const again = await participant(path, async () => ({ block: 99 }));
      assert.deepEqual(await sendRecord(again.context, { key, prepare }), { block: 40, alreadyDone: true });
      assert.deepEqual([again.sent, calls()], [[], 1]);
      await again.journal.close();
    }));

  it("after a failure between intent and effect sends the same bytes, and makes no other record", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const { prepare, calls } = preparing();
      const gone = new ConnitoError("gone", { code: "chain-unreachable", exit: "network", hint: "Wait.", retryable: true });
      const first = await participant(path, () => Promise.reject(gone));
      await assert.rejects(sendRecord(first.context, { key, prepare }), gone);
      await first.journal.close();
      const again = await participant(path, async () => ({ block: 41 }));
      assert.deepEqual(await sendRecord(again.context, { key, prepare }), { block: 41, alreadyDone: false });
      assert.deepEqual([...first.sent, ...again.sent, calls()], ["01", "01", 1]);
      await again.journal.close();
    }));

  it("keeps different keys apart", () =>
    inTemporaryDirectory(async (directory) => {
      const { context, sent, journal } = await participant(join(directory, "journal.jsonl"), async () => ({ block: 40 }));
      const { prepare } = preparing();
      await sendRecord(context, { key, prepare });
      await sendRecord(context, { key: "commit/4", prepare });
      assert.deepEqual(sent, ["01", "02"]);
      await journal.close();
    }));
});
