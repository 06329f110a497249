import assert from "node:assert/strict";
import type { Source } from "../../src/exchange/exchange.ts";
import { collectBytes } from "../../src/exchange/exchange.ts";
import { firstDelivered } from "../../src/steps/fetch.ts";
import { pause } from "../../src/waiting.ts";
import { deliver, head, host, sourceAt, withPeer, withServer } from "../exchange/support.ts";

const path = `/objects/${"00".repeat(32)}`;
const bytes = Buffer.from("small");
const ask = async (source: Source, signal: AbortSignal) =>
  collectBytes(await source.get(path, { maximumBytes: 1000, signal }), 1000).then((got) => Buffer.from(got).toString());
const never = new AbortController().signal;

describe("something small", () => {
  it("comes from the first peer that delivers, whatever those before it do, and the others are stopped", () =>
    withPeer(
      (socket) => void socket.write(head("200 OK", "content-length: 900")),
      async ({ url: slow, requests }) =>
        withServer({ [path]: bytes }, async ({ url }) => {
          const sources = [sourceAt(slow), sourceAt(`http://${host}:1`), sourceAt(slow), sourceAt(url)];
          const began = performance.now();
          assert.equal(await firstDelivered(sources, ask, never), "small");
          assert.ok(performance.now() - began < 5000);
          assert.equal(requests.length, 2);
        }),
    ));

  it("is asked of one peer alone where that delivers", () =>
    withPeer(
      (socket, request) => deliver(socket, request, bytes),
      async ({ url, requests }) => {
        assert.equal(await firstDelivered([sourceAt(url), sourceAt(url)], ask, never, { overlap: 10_000 }), "small");
        await pause(300);
        assert.equal(requests.length, 1);
      },
    ));

  it("is not waited for longer than it may take, nor when all is stopped", () =>
    withPeer(
      (socket) => void socket.write(head("200 OK", "content-length: 900")),
      async ({ url }) => {
        const began = performance.now();
        assert.equal(await firstDelivered([sourceAt(url)], ask, never, { within: 300 }), undefined);
        assert.ok(performance.now() - began < 5000);
        assert.equal(await firstDelivered([sourceAt(`http://${host}:1`)], ask, never), undefined);
        assert.equal(await firstDelivered([], ask, never), undefined);
        const stop = new AbortController();
        const asked = firstDelivered([sourceAt(url)], ask, stop.signal);
        stop.abort(new Error("stop"));
        await assert.rejects(asked, /stop/);
      },
    ));
});
