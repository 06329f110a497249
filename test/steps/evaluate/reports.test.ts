import assert from "node:assert/strict";
import { developmentSigner } from "../../../src/chain/signer.ts";
import { publishToDirectory } from "../../../src/exchange/directory.ts";
import { sha256, toHex } from "../../../src/protocol/hash.ts";
import { drawOpenSequences, drawSequences } from "../../../src/protocol/held-out.ts";
import type { SignedReport } from "../../../src/protocol/report.ts";
import { createReport, reportMessage } from "../../../src/protocol/report.ts";
import type { ChainClock, Heads } from "../../../src/steps/clock.ts";
import type { Context } from "../../../src/steps/context.ts";
import type { CycleView } from "../../../src/steps/cycle-view.ts";
import { encodeEvidence, mostEvidenceBytes } from "../../../src/steps/evaluate/evidence.ts";
import { collectEvidence, collectReports, fetchEvidence } from "../../../src/steps/evaluate/reports.ts";
import { head, server, validator, withPeer } from "../../exchange/support.ts";
import { exampleTask, hash, hotkey } from "../../protocol/support.ts";
import { withReader } from "./reader.ts";

const membership = { task: exampleTask(), taskHash: hash("task") };
const draw = { task: membership.task, seed: hash("seed"), available: [300, 200] };
const entries = [0, 1].map((index) => ({ miner: hotkey(index), group: 0, status: "unscored" as const, score: 0, root: null }));
const most = mostEvidenceBytes(membership.task, entries.length);

/** Evidence that counts, made so long with spaces. */
function evidenceOf(bytes: number): Uint8Array {
  const stages = drawSequences(draw).stages.map(({ length }) => length);
  const open = drawOpenSequences(draw).map((one) => ({ ...one, tokens: [1], baseLoss: 2 }));
  const evidence = encodeEvidence({ stages, baseLosses: [3], open, miners: [] });
  return Buffer.concat([evidence, Buffer.alloc(bytes - evidence.length, " ")]);
}

function reportOn(evidence: Uint8Array, validator = hotkey(9)): SignedReport {
  const head = { task: membership.taskHash, cycle: 1, base: hash("base"), validator };
  return { report: createReport({ ...head, evidence: toHex(sha256(evidence)), entries }), signature: "" };
}

describe("evidence that somebody else shows", () => {
  it("is read up to all that it can say of the report's miners, and no further", async () => {
    await withReader({ role: "miner" }, async ({ context, published, notes }) => {
      const read = async (bytes: number) => {
        const evidence = evidenceOf(bytes);
        await publishToDirectory(published, `/objects/${toHex(sha256(evidence))}`, evidence);
        return fetchEvidence(context, membership, draw, reportOn(evidence));
      };
      assert.deepEqual((await read(most))?.baseLosses, [3]);
      assert.deepEqual(notes, []);
      assert.equal(await read(most + 1), undefined);
      assert.equal(notes.at(-1), "object-oversize");
    });
  });

  it("is not read either where something larger is here under its name", async () => {
    await withReader({ role: "miner" }, async ({ context, notes }) => {
      const large = evidenceOf(most + 1);
      await context.workspace.objects.put(large);
      assert.equal(await fetchEvidence(context, membership, draw, reportOn(large)), undefined);
      assert.deepEqual(notes, ["evidence-oversize"]);
    });
  });

  it("is fetched side by side, and not waited for past five blocks where somebody drips it", async () => {
    const evidences = [1, 2, 3].map((more) => evidenceOf(most - more));
    const dripped = evidences.slice(0, 2).map((evidence) => toHex(sha256(evidence)));
    let tell: ((heads: Heads) => void) | undefined;
    await withPeer(
      (socket, request) => {
        if (request.startsWith("GET /hotkey "))
          return socket.write(`${head("200 OK", `content-length: ${server.address.length}`)}${server.address}`);
        if (!dripped.some((one) => request.includes(one))) return socket.write(head("404 Not Found", "content-length: 0"));
        socket.write(head("200 OK", `content-length: ${most}`));
        return setTimeout(() => tell?.({ best: 105, finalized: { number: 100, hash: "00" } }), 1000);
      },
      async ({ url, requests }) =>
        withReader({ role: "miner" }, async ({ context, published, notes }) => {
          const last = evidences[2] as Uint8Array;
          await publishToDirectory(published, `/objects/${toHex(sha256(last))}`, last);
          let closed = false;
          const watch: ChainClock["watch"] = (listener) => {
            tell = listener;
            return () => {
              closed = true;
            };
          };
          const clock = { ...context.clock, watch, now: async () => ({ best: 100, finalized: { number: 9, hash: "00" } }) };
          const asking = { ...context, clock, signer: validator, peers: [url, ...context.peers] } as unknown as Context;
          const reports = evidences.map((evidence, index) => reportOn(evidence, hotkey(7 + index)));
          const shown = await collectEvidence(asking, membership, draw, reports);
          assert.deepEqual(
            [...shown].map(([validator, evidence]) => [validator, evidence?.baseLosses]),
            [
              [hotkey(7), undefined],
              [hotkey(8), undefined],
              [hotkey(9), [3]],
            ],
          );
          assert.deepEqual(notes, ["out-of-time", "out-of-time"]);
          assert.equal(requests.filter((request) => dripped.some((one) => request.includes(one))).length, 2);
          assert.ok(closed);
        }),
    );
  });
});

describe("reports that others have", () => {
  it("are not held up by a peer that is slow", () =>
    withPeer(
      (socket, request) =>
        socket.write(
          request.startsWith("GET /hotkey ")
            ? `${head("200 OK", `content-length: ${server.address.length}`)}${server.address}`
            : head("200 OK", "content-length: 900"),
        ),
      async ({ url }) =>
        withReader({ role: "validator" }, async ({ context, published }) => {
          const signer = await developmentSigner("//Shown");
          const facts = { task: membership.taskHash, cycle: 1, base: hash("base"), validator: signer.address, evidence: hash("evidence") };
          const report = createReport({ ...facts, entries: [] });
          const signed: SignedReport = { report, signature: toHex(signer.sign(reportMessage(report))) };
          await publishToDirectory(published, `/reports/1/${signer.address}.json`, Buffer.from(JSON.stringify(signed)));
          const asking = { ...context, signer: validator, peers: [url, url, ...context.peers] } as unknown as Context;
          const view = { cycle: 1, base: hash("base"), assignment: { groups: [] } } as unknown as CycleView;
          const began = performance.now();
          const committed = new Map([[signer.address, toHex(reportMessage(report))]]);
          const reports = await collectReports(asking, membership, view, [], committed);
          assert.deepEqual([...reports.values()], [signed]);
          assert.ok(performance.now() - began < 10_000);
        }),
    ));
});
