import assert from "node:assert/strict";
import { developmentSigner } from "../../../src/chain/signer.ts";
import { publishToDirectory } from "../../../src/exchange/directory.ts";
import { type GroupResult, groupResultMessage } from "../../../src/protocol/group-result.ts";
import { toHex } from "../../../src/protocol/hash.ts";
import { encodeRecord } from "../../../src/protocol/records.ts";
import type { Context } from "../../../src/steps/context.ts";
import type { CycleView } from "../../../src/steps/cycle-view.ts";
import { collectGroupResults } from "../../../src/steps/evaluate/group-results.ts";
import { head, server, validator, withPeer } from "../../exchange/support.ts";
import { exampleTask, hash } from "../../protocol/support.ts";
import { withReader } from "./reader.ts";

describe("groups' results", () => {
  it("are not held up by a scorer that drips its own", () =>
    withPeer(
      (socket, request) => {
        if (request.startsWith("GET /hotkey "))
          return socket.write(`${head("200 OK", `content-length: ${server.address.length}`)}${server.address}`);
        socket.write(head("200 OK", "content-length: 900000"));
        const drip = setInterval(() => socket.write(Buffer.alloc(1 << 14, " ")), 1000);
        return socket.on("close", () => clearInterval(drip));
      },
      async ({ url, requests }) =>
        withReader({ role: "validator" }, async ({ context, published }) => {
          const prompt = await developmentSigner("//Prompt");
          const membership = { task: exampleTask({}), taskHash: hash("task") };
          const view = { cycle: 1, base: hash("base") } as CycleView;
          const facts = { task: membership.taskHash, cycle: 1, base: view.base, group: 0, validator: prompt.address };
          const result: GroupResult = { format: "connito/group-result/1", ...facts, contributors: [], gradient: null };
          const signed = JSON.stringify({ result, signature: toHex(prompt.sign(groupResultMessage(result))) });
          await publishToDirectory(published, `/groups/1/0/${prompt.address}.json`, Buffer.from(signed));
          const scorers = [
            { hotkey: server.address, uid: 0, stake: 10n ** 12n, locator: url },
            { hotkey: prompt.address, uid: 1, stake: 10n ** 12n, locator: context.peers[0] as string },
          ];
          const chain = {
            ...context.chain,
            neurons: async () => scorers.map((scorer) => ({ ...scorer, validatorPermit: true, registeredAt: 1 })),
            commitments: async () =>
              scorers.map(({ hotkey, locator }) => ({
                ...{ hotkey, block: 1 },
                fields: [encodeRecord({ kind: "version", cycle: 1, previousRoot: hash("base"), root: hash("next"), locator })],
              })),
          };
          const asking = { ...context, chain, signer: validator } as unknown as Context;
          const began = performance.now();
          assert.deepEqual(await collectGroupResults(asking, membership, view, 0, scorers), [result]);
          assert.ok(performance.now() - began < 15_000);
          assert.ok(requests.some((request) => request.includes(`/groups/1/0/${server.address}.json`)));
        }),
    ));
});
