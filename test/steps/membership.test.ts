import assert from "node:assert/strict";
import { publishToDirectory } from "../../src/exchange/directory.ts";
import type { Context } from "../../src/steps/context.ts";
import { download } from "../../src/steps/membership.ts";
import { deliver, hashOf, head, server, validator, withPeer } from "../exchange/support.ts";
import { withReader } from "./evaluate/reader.ts";

const document = Buffer.from("a document");
const hash = hashOf(document);

/** A peer that is who it says, and answers what it is asked for with bytes that are not what was meant, of which some never come. */
const withLiar = (upTo: number, work: (url: string) => Promise<void>): Promise<void> =>
  withPeer(
    (socket, request) =>
      request.startsWith("GET /hotkey ")
        ? socket.write(`${head("200 OK", `content-length: ${server.address.length}`)}${server.address}`)
        : deliver(socket, request, Buffer.from("a DOCUMENT"), upTo),
    ({ url }) => work(url),
  );

describe("a document that nothing is kept of", () => {
  it("comes from the first peer that delivers it unaltered, whatever those before it do", () =>
    withLiar(3, (slow) =>
      withLiar(document.length, (lying) =>
        withReader({ role: "miner" }, async ({ context, published }) => {
          const asking = { ...context, signer: validator, peers: [slow, lying, ...context.peers] } as unknown as Context;
          await publishToDirectory(published, `/objects/${hash}`, document);
          const began = performance.now();
          assert.deepEqual(Buffer.from((await download(asking, hash)) ?? []), document);
          assert.ok(performance.now() - began < 10_000);
          assert.equal(await download({ ...asking, peers: [lying] }, hash), undefined);
        }),
      ),
    ));
});
