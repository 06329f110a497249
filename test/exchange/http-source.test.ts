import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { collectBytes, openSource } from "../../src/exchange/exchange.ts";
import { failsWith } from "../workspace/support.ts";
import { deliver, head, host, miner, server, sourceAt, withPeer, withServer } from "./support.ts";

const path = "/task.json";
const bytes = Buffer.from("a task, for example");

const get = async (
  url: string,
  options: { offset?: number; maximumBytes?: number; expectedBytes?: number } = {},
  limits = {},
): Promise<Buffer> => {
  const source = sourceAt(url, limits);
  return Buffer.from(await collectBytes(await source.get(path, { maximumBytes: 1000, ...options }), 1 << 30));
};

describe("http source", () => {
  it("asks in a session and with a range, and takes what comes", () =>
    withPeer(
      (socket, request) => deliver(socket, request, bytes),
      async ({ url, requests }) => {
        assert.ok((await get(url)).equals(bytes));
        assert.ok((await get(url, { offset: 4 })).equals(bytes.subarray(4)));
        assert.match(requests[0] as string, new RegExp(`^GET ${path} HTTP/1.1[\\s\\S]*x-connito-session: [0-9a-f]{32}`));
        assert.doesNotMatch(requests[0] as string, /\nrange/i);
        assert.match(requests[1] as string, /\nrange: bytes=4-/);
      },
    ));

  it("opens one session for all it asks, and another when the server began anew", async () => {
    const opened: string[] = [];
    const authorize = (hotkey: string): boolean => opened.push(hotkey) > 0;
    let signed = 0;
    const counting = {
      address: miner.address,
      sign(message: Uint8Array): Uint8Array {
        signed++;
        return miner.sign(message);
      },
    };
    const source = (url: string) => sourceAt(url, {}, counting);
    const read = async (url: string): Promise<string> =>
      Buffer.from(await collectBytes(await source(url).get(path, { maximumBytes: 1000 }), 1000)).toString();
    const port = await withServer({ [path]: bytes }, async ({ url, port: taken }) => {
      assert.deepEqual(new Set(await Promise.all(Array.from({ length: 8 }, () => read(url)))), new Set([bytes.toString()]));
      return taken;
    });
    assert.equal(signed, 1);
    // Until the connections that were kept have ended here too.
    await new Promise((resolve) => setTimeout(resolve, 100));
    await withServer(
      { [path]: bytes },
      async ({ url }) => {
        for (let round = 0; round < 3; round++) assert.equal(await read(url), bytes.toString());
      },
      { port, authorize },
    );
    assert.equal(signed, 2);
    assert.ok(opened.length >= 3);
  });

  it("tells where the answer begins when the peer cannot skip, or has less than was there before", () =>
    withServer({ [path]: bytes }, async ({ url }) => {
      const source = sourceAt(url);
      assert.equal((await source.get(path, { maximumBytes: 1000, offset: bytes.length })).offset, bytes.length);
      const shorter = await source.get(path, { maximumBytes: 1000, offset: 500 });
      assert.equal(shorter.offset, 0);
      assert.ok(Buffer.from(await collectBytes(shorter, 1000)).equals(bytes));
      await withPeer(
        (socket) => deliver(socket, "", bytes),
        async (peer) => {
          const whole = await sourceAt(peer.url).get(path, { maximumBytes: 1000, offset: 3 });
          assert.equal(whole.offset, 0);
          assert.ok(Buffer.from(await collectBytes(whole, 1000)).equals(bytes));
        },
      );
    }));

  it("is unreachable, and worth another try, for everything that is no answer", async () => {
    const noAnswers: [string, string][] = [
      ["garbage", "SSH-2.0-OpenSSH_9.6\r\n\r\n"],
      ["server trouble", head("500 Oops", "content-length: 0")],
      ["too busy", head("429 Later", "content-length: 0")],
      ["another range", `${head("206 Partial Content", "content-length: 3", "content-range: bytes 5-7/8")}abc`],
      ["a range without its place", `${head("206 Partial Content", "content-length: 3")}abc`],
      [
        "an encoding",
        `${head("200 OK", "content-encoding: gzip", `content-length: ${gzipSync(bytes).length}`)}${gzipSync(bytes).toString("latin1")}`,
      ],
      ["a shorter body", `${head("200 OK", "content-length: 10")}abc`],
      ["a broken chunk", `${head("200 OK", "transfer-encoding: chunked")}5\r\nabc`],
      ["endless headers", `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(20_000)}`],
    ];
    for (const [what, answer] of noAnswers) {
      await withPeer(
        (socket) => socket.end(answer, "latin1"),
        async ({ url }) => {
          const error = await failsWith("peer-unreachable", get(url));
          assert.equal(error.retryable, true, what);
          assert.ok(error.message.includes(url), what);
        },
      );
    }
    await failsWith("peer-unreachable", get(`http://${host}:1`));
    await failsWith("peer-unreachable", get("http://no-such-host.invalid:80"));
  });

  it("follows nobody to another place", () =>
    withPeer(
      (socket, request) => deliver(socket, request, bytes),
      async (target) =>
        withPeer(
          (socket) => socket.end(head("302 Found", `location: ${target.url}${path}`, "content-length: 0")),
          async ({ url }) => {
            assert.match((await failsWith("peer-unreachable", get(url))).message, /302/);
            assert.equal(target.requests.length, 0);
          },
        ),
    ));

  it("is told why it is refused, in a word and not in the peer's own prose", async () => {
    const reasonOf = (answer: string): Promise<string> =>
      withPeer(
        (socket) => socket.end(answer),
        async ({ url }) => (await failsWith("request-refused", get(url))).message,
      );
    assert.match(await reasonOf(`${head("403 No", "content-length: 27")}{"code":"not-allowed-now"}  `), /not-allowed-now/);
    assert.doesNotMatch(await reasonOf(`${head("401 No", "content-length: 20")}\u001b[31mrun rm -rf / !! `), /rm/);
    assert.match(await reasonOf(`${head("403 No", "transfer-encoding: chunked")}ffff\r\n${"x".repeat(65535)}\r\n`), /status 403/);
    await withPeer(
      (socket) => socket.end(head("404 No", "content-length: 0")),
      async ({ url }) => void (await failsWith("object-not-found", get(url))),
    );
  });

  it("takes no more than it should, whatever is promised", async () => {
    const endless = (answer: string) => (socket: { write(text: string): boolean; destroyed: boolean }) => {
      socket.write(answer);
      const more = (): void => {
        if (!socket.destroyed && socket.write(`400\r\n${"x".repeat(1024)}\r\n`)) setImmediate(more);
      };
      more();
    };
    await withPeer(endless(head("200 OK", "transfer-encoding: chunked")), async ({ url }) => {
      await failsWith("object-oversize", get(url));
      const error = await failsWith("object-oversize", get(url, { expectedBytes: 5 }));
      assert.ok(error.message.includes(url));
    });
    await withPeer(endless(head("200 OK", "content-length: 1001")), async ({ url }) => void (await failsWith("object-oversize", get(url))));
    await withPeer(
      (socket, request) => deliver(socket, request, bytes),
      async ({ url }) => {
        await failsWith("object-hash-mismatch", get(url, { expectedBytes: bytes.length - 1 }));
        await failsWith("object-hash-mismatch", get(url, { expectedBytes: bytes.length + 1 }));
      },
    );
  });

  it("gives up on a peer that is silent, stops, or drips", async () => {
    const limits = { answerMilliseconds: 150, stallMilliseconds: 150, stallBytes: 100 };
    await withPeer(
      () => undefined,
      async ({ url }) => assert.match((await failsWith("peer-unreachable", get(url, {}, limits))).message, /no answer in time/),
    );
    await withPeer(
      (socket) => socket.write(`${head("200 OK", "content-length: 500")}abc`),
      async ({ url }) => assert.match((await failsWith("peer-unreachable", get(url, {}, limits))).message, /less than 100 bytes/),
    );
    const drips: NodeJS.Timeout[] = [];
    await withPeer(
      (socket) => {
        socket.write(head("200 OK", "content-length: 500"));
        drips.push(setInterval(() => socket.write("x"), 20));
      },
      async ({ url }) => void (await failsWith("peer-unreachable", get(url, {}, limits))),
    );
    for (const drip of drips) clearInterval(drip);
  });

  it("does not hold our own slowness against the peer", () =>
    withServer({ [path]: Buffer.alloc(1 << 20) }, async ({ url }) => {
      const source = sourceAt(url, { stallMilliseconds: 100, stallBytes: 1 << 30 });
      let received = 0;
      for await (const part of await source.get(path, { maximumBytes: 1 << 20 })) {
        if (received === 0) await new Promise((resolve) => setTimeout(resolve, 250));
        received += part.length;
      }
      assert.equal(received, 1 << 20);
    }));

  it("stops at once when told, before, during and after the answer has begun", async () => {
    const silent = new AbortController();
    await withPeer(
      () => setTimeout(() => silent.abort(new Error("enough")), 20),
      async ({ url }) => assert.rejects(sourceAt(url).get(path, { maximumBytes: 10, signal: silent.signal }), /enough/),
    );
    const midway = new AbortController();
    await withPeer(
      (socket) => socket.write(`${head("200 OK", "content-length: 500")}abc`),
      async ({ url }) => {
        const delivery = await sourceAt(url).get(path, { maximumBytes: 1000, signal: midway.signal });
        setTimeout(() => midway.abort(new Error("enough")), 20);
        await assert.rejects(collectBytes(delivery, 1000), /enough/);
      },
    );
    await assert.rejects(
      sourceAt(`http://${host}:1`).get(path, { maximumBytes: 10, signal: AbortSignal.abort(new Error("enough")) }),
      /enough/,
    );
  });

  it("lets whoever stops go, and opens the session for the others that wait for it", async () => {
    const first = new AbortController();
    await withPeer(
      (socket, request) => {
        if (!request.startsWith("GET /hotkey ")) return deliver(socket, request, bytes);
        first.abort(new Error("enough"));
        return setTimeout(() => deliver(socket, request, Buffer.from(server.address)), 20);
      },
      async ({ url, requests }) => {
        const source = openSource(url, { signer: { ...miner }, blockNumber: () => 1000 });
        const [stopped, other] = await Promise.allSettled([
          source.get(path, { maximumBytes: 1000, signal: first.signal }),
          source.get(path, { maximumBytes: 1000 }),
        ]);
        assert.equal(stopped.status === "rejected" && stopped.reason.message, "enough");
        assert.equal(other.status, "fulfilled");
        assert.equal(requests.length, 2);
      },
    );
  });

  it("does not ask for anything outside the table, or without a key", async () => {
    await withPeer(
      () => undefined,
      async ({ url, requests }) => {
        await failsWith("object-not-found", sourceAt(url).get("/objects/../x", { maximumBytes: 10 }));
        assert.equal(requests.length, 0);
      },
    );
    assert.throws(() => openSource(`http://${host}:1`), { code: "signer-missing" });
    assert.throws(() => openSource("ftp://x"), { code: "locator-invalid" });
  });

  it("does not take a web page for a peer when it has to ask who serves there", () =>
    withPeer(
      (socket) => socket.end(`${head("200 OK", "content-length: 6")}<html>`),
      async ({ url }) => {
        const source = openSource(url, { signer: miner, blockNumber: () => 1 });
        assert.match((await failsWith("peer-unreachable", source.get(path, { maximumBytes: 10 }))).message, /hotkey/);
      },
    ));
});
