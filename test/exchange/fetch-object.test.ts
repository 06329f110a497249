import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { openSource } from "../../src/exchange/exchange.ts";
import { type FetchObjectOptions, fetchArtifact, fetchObject } from "../../src/exchange/fetch-object.ts";
import { artifactRoot } from "../../src/protocol/artifact.ts";
import { failsWith, inTemporaryDirectory, onFullDisk } from "../workspace/support.ts";
import { deliver, hashOf, head, host, rangeStart, sourceAt, unusedPath, withPeer, withServer } from "./support.ts";

const bytes = randomBytes(1_500_000);
const hash = hashOf(bytes);
const path = `/objects/${hash}`;
const backOff = { first: 1, most: 2 };
const half = 700_000;

const wanted = (into: string, more: Omit<FetchObjectOptions, "hash" | "path" | "into" | "bytes">): FetchObjectOptions => ({
  hash,
  path,
  into,
  bytes: bytes.length,
  backOff,
  ...more,
});

/** Breaks a connection off once so much has arrived. */
const cutAt =
  (point: number, cut: () => void) =>
  ({ received }: { received: number }): void => {
    if (received === point) cut();
  };

/** Delivers all of it, a twentieth at a time. */
function dripping(socket: Socket, request: string): void {
  const first = rangeStart(request);
  deliver(socket, request, bytes, first);
  let at = first;
  const timer = setInterval(() => {
    const end = Math.min(bytes.length, at + bytes.length / 20);
    socket.write(bytes.subarray(at, end));
    at = end;
    if (at === bytes.length || socket.destroyed) clearInterval(timer);
  }, 60);
}

async function holds(into: string): Promise<void> {
  assert.ok((await readFile(into)).equals(bytes));
  await assert.rejects(stat(`${into}.partial`));
}

async function holdsNothing(directory: string): Promise<void> {
  for (const name of await readdir(directory)) assert.equal((await stat(join(directory, name))).size, 0, name);
}

describe("fetching", () => {
  it("ends in the verified file, counting its bytes, and does not ask twice", () =>
    inTemporaryDirectory((directory) =>
      withServer({ [path]: bytes }, async ({ url }) => {
        const into = join(directory, "deep", "object");
        const progress: number[] = [];
        const sources = [sourceAt(url)];
        const fetched = await fetchObject(
          wanted(into, { sources, onProgress: ({ received, total }) => progress.push(received / (total as number)) }),
        );
        assert.deepEqual(fetched, { bytes: bytes.length, length: bytes.length, faults: [] });
        await holds(into);
        assert.equal(progress.at(-1), 1);
        assert.equal((await fetchObject(wanted(into, { sources: [] }))).bytes, 0);
      }),
    ));

  it("goes on where a cut connection left it, on the same peer and across peers, fetching no byte twice", () =>
    inTemporaryDirectory(async (directory) => {
      const into = join(directory, "object");
      await withPeer(
        (socket, request, nth) => deliver(socket, request, bytes, nth === 1 ? half : bytes.length),
        async ({ url, requests, cut }) => {
          const fetched = await fetchObject(wanted(into, { sources: [sourceAt(url)], onProgress: cutAt(half, cut) }));
          assert.deepEqual(requests.map(rangeStart), [0, half]);
          assert.equal(fetched.bytes, bytes.length);
          assert.equal(fetched.faults.length, 1);
          await holds(into);
        },
      );
      const other = join(directory, "other");
      await withPeer(
        (socket, request) => deliver(socket, request, bytes, half),
        async (first) =>
          withPeer(
            (socket, request) => deliver(socket, request, bytes),
            async (second) => {
              const sources = [sourceAt(first.url), sourceAt(second.url)];
              const fetched = await fetchObject(wanted(other, { sources, onProgress: cutAt(half, first.cut) }));
              assert.deepEqual(second.requests.map(rangeStart), [half]);
              assert.equal(fetched.bytes, bytes.length);
              await holds(other);
            },
          ),
      );
    }));

  it("goes on from the partial file that an earlier process left", () =>
    inTemporaryDirectory((directory) =>
      withPeer(
        (socket, request) => deliver(socket, request, bytes),
        async ({ url, requests }) => {
          const into = join(directory, "object");
          await writeFile(`${into}.partial`, bytes.subarray(0, half));
          const fetched = await fetchObject(wanted(into, { sources: [sourceAt(url)] }));
          assert.equal(fetched.bytes, bytes.length - half);
          assert.deepEqual(requests.map(rangeStart), [half]);
          await holds(into);
          const whole = join(directory, "whole");
          await writeFile(`${whole}.partial`, bytes);
          assert.equal((await fetchObject(wanted(whole, { sources: [sourceAt(url)] }))).bytes, 0);
          assert.equal(requests.length, 1);
          await holds(whole);
        },
      ),
    ));

  it("throws away a partial file that was not of this object, without blaming the peer", () =>
    inTemporaryDirectory((directory) =>
      withPeer(
        (socket, request) => deliver(socket, request, bytes),
        async ({ url }) => {
          for (const [index, old] of [randomBytes(half), randomBytes(bytes.length), randomBytes(bytes.length + 5)].entries()) {
            const into = join(directory, `object-${index}`);
            await writeFile(`${into}.partial`, old);
            assert.deepEqual((await fetchObject(wanted(into, { sources: [sourceAt(url)] }))).faults, []);
            await holds(into);
          }
        },
      ),
    ));

  it("names a peer that lies, keeps nothing of it, and takes the object from another", () =>
    inTemporaryDirectory((directory) =>
      withPeer(
        (socket, request) => deliver(socket, request, Buffer.from(bytes).fill(1, 1000, 1001)),
        async (liar) => {
          const error = await failsWith(
            "object-hash-mismatch",
            fetchObject(wanted(join(directory, "a"), { sources: [sourceAt(liar.url)] })),
          );
          assert.ok(error.message.includes(liar.url));
          assert.equal(error.exit, 40);
          assert.equal(liar.requests.length, 1, "a liar is not asked again");
          await holdsNothing(directory);
          await withServer({ [path]: bytes }, async ({ url }) => {
            const told: string[] = [];
            const sources = [sourceAt(liar.url), sourceAt(url)];
            const fetched = await fetchObject(wanted(join(directory, "b"), { sources, onFault: ({ locator }) => told.push(locator) }));
            assert.deepEqual(
              fetched.faults.map((fault) => [fault.locator, fault.error.code]),
              [[liar.url, "object-hash-mismatch"]],
            );
            assert.deepEqual(told, [liar.url]);
            await holds(join(directory, "b"));
          });
        },
      ),
    ));

  it("does not let one peer's bad half be blamed on the next", () =>
    inTemporaryDirectory((directory) =>
      withPeer(
        (socket, request) => deliver(socket, request, Buffer.alloc(bytes.length), half),
        async (liar) =>
          withServer({ [path]: bytes }, async ({ url }) => {
            const into = join(directory, "object");
            const sources = [sourceAt(liar.url), sourceAt(url)];
            const fetched = await fetchObject(wanted(into, { sources, onProgress: cutAt(half, liar.cut) }));
            assert.deepEqual(
              fetched.faults.map(({ locator }) => locator),
              [liar.url],
            );
            assert.equal(fetched.bytes, half + (bytes.length - half) + bytes.length);
            await holds(into);
          }),
      ),
    ));

  it("refuses what is longer or shorter than promised, by the claim or by the bytes", () =>
    inTemporaryDirectory(async (directory) => {
      const longer = Buffer.concat([bytes, Buffer.from("more")]);
      const chunked = (body: Buffer): Buffer =>
        Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n0\r\n\r\n")]);
      const claims: [string, Buffer][] = [
        ["object-hash-mismatch", Buffer.concat([Buffer.from(head("200 OK", `content-length: ${longer.length}`)), longer])],
        ["object-oversize", Buffer.concat([Buffer.from(head("200 OK", "transfer-encoding: chunked")), chunked(longer)])],
        ["object-hash-mismatch", Buffer.concat([Buffer.from(head("200 OK", "content-length: 9")), bytes.subarray(0, 9)])],
      ];
      for (const [code, answer] of claims) {
        await withPeer(
          (socket) => socket.end(answer),
          async ({ url }) => {
            await failsWith(code, fetchObject(wanted(join(directory, "object"), { sources: [sourceAt(url)], maximumBytes: 2e6 })));
            await holdsNothing(directory);
          },
        );
      }
    }));

  it("comes back to unreachable peers a few times, and says what was wrong with each", () =>
    inTemporaryDirectory(async (directory) => {
      const into = join(directory, "object");
      let attempts = 0;
      const gone = { locator: "gone", get: sourceAt(`http://${host}:1`).get };
      const counted = {
        ...gone,
        get: (...question: Parameters<typeof gone.get>) => {
          attempts++;
          return gone.get(...question);
        },
      };
      await failsWith("peer-unreachable", fetchObject(wanted(into, { sources: [counted], attempts: 3 })));
      assert.equal(attempts, 3);
      await withServer({}, async ({ url }) => {
        const sources = [counted, sourceAt(url), openSource(`file:${unusedPath()}`)];
        const error = await failsWith("peer-unreachable", fetchObject(wanted(into, { sources, attempts: 2 })));
        assert.equal(error.retryable, true);
        assert.match(error.message, /None of 3 peers/);
        assert.ok(error.message.includes(url));
        const missing = await failsWith("object-not-found", fetchObject(wanted(into, { sources: [sourceAt(url)] })));
        assert.ok(missing.message.includes(path));
      });
      await failsWith("peer-unreachable", fetchObject(wanted(into, { sources: [] })));
    }));

  it("leaves a slow peer for another, with what it delivered, and asks it last from then on", () =>
    inTemporaryDirectory((directory) =>
      withPeer(dripping, async (slow) =>
        withPeer(
          (socket, request) => deliver(socket, request, bytes),
          async (quick) => {
            const sources = [sourceAt(slow.url), sourceAt(quick.url)];
            await fetchObject(wanted(join(directory, "a"), { sources, turnMilliseconds: 300 }));
            await holds(join(directory, "a"));
            assert.ok(rangeStart(quick.requests[0] as string) > 0);
            await fetchObject(wanted(join(directory, "b"), { sources }));
            assert.equal(slow.requests.length, 1);
            assert.deepEqual(quick.requests.map(rangeStart).slice(1), [0]);
          },
        ),
      ),
    ));

  it("stays with a slow peer that is alone, or beside others that are as slow or do not deliver", () =>
    inTemporaryDirectory((directory) =>
      withPeer(dripping, async (slow) =>
        withPeer(dripping, async (other) => {
          const gone = sourceAt(`http://${host}:1`);
          const turn = { turnMilliseconds: 300, attempts: 2 };
          for (const [index, others] of [[], [gone], [sourceAt(other.url)]].entries()) {
            const asked = slow.requests.length + other.requests.length;
            const into = join(directory, String(index));
            await fetchObject(wanted(into, { sources: [sourceAt(slow.url), ...others], ...turn }));
            await holds(into);
            assert.ok(slow.requests.length + other.requests.length - asked <= 2);
          }
        }),
      ),
    ));

  it("ends with a slow peer, though a quick one delivers something else and cuts before the end", () =>
    inTemporaryDirectory((directory) =>
      withPeer(dripping, async (slow) =>
        withPeer(
          (socket, request) => {
            deliver(socket, request, Buffer.from(bytes.map((byte) => byte ^ 1)), bytes.length - 8);
            setTimeout(() => socket.destroy(), 20);
          },
          async (liar) => {
            const into = join(directory, "object");
            await fetchObject(wanted(into, { sources: [sourceAt(liar.url), sourceAt(slow.url)], turnMilliseconds: 300 }));
            await holds(into);
          },
        ),
      ),
    ));

  it("asks a peer that stalls last from then on", () =>
    inTemporaryDirectory((directory) =>
      withPeer(
        (socket) => socket.destroy(),
        async (gone) =>
          withPeer(
            (socket, request) => deliver(socket, request, bytes),
            async (quick) => {
              const sources = [sourceAt(gone.url), sourceAt(quick.url)];
              for (const name of ["a", "b"]) await fetchObject(wanted(join(directory, name), { sources }));
              assert.deepEqual([gone.requests.length, quick.requests.length], [1, 2]);
            },
          ),
      ),
    ));

  it("does not count attempts against a long download that advances", () =>
    inTemporaryDirectory(async (directory) => {
      const large = randomBytes(8 << 20);
      const step = 1 << 20;
      await withPeer(
        (socket, request) => deliver(socket, request, large, rangeStart(request) + step + 1),
        async ({ url, requests, cut }) => {
          const into = join(directory, "large");
          const onProgress = ({ received }: { received: number }): void => {
            if (received % (step + 1) === 0) cut();
          };
          const fetched = await fetchObject({
            ...wanted(into, { sources: [sourceAt(url)], attempts: 2, onProgress }),
            hash: hashOf(large),
            bytes: large.length,
          });
          assert.equal(fetched.bytes, large.length);
          assert.equal(requests.length, 8);
        },
      );
    }));

  it("stops when told, while bytes come and while it waits, keeping what it has", () =>
    inTemporaryDirectory(async (directory) => {
      const into = join(directory, "object");
      const slow = { first: 3_600_000, most: 3_600_000 };
      await withPeer(
        (socket, request) => deliver(socket, request, bytes, half),
        async ({ url, cut }) => {
          const coming = new AbortController();
          const stop = cutAt(half, () => coming.abort(new Error("enough")));
          await assert.rejects(fetchObject(wanted(into, { sources: [sourceAt(url)], signal: coming.signal, onProgress: stop })), /enough/);
          assert.ok((await readFile(`${into}.partial`)).equals(bytes.subarray(0, half)));
          cut();
        },
      );
      const waiting = new AbortController();
      const options = wanted(into, {
        sources: [sourceAt(`http://${host}:1`)],
        signal: waiting.signal,
        onFault: () => waiting.abort(new Error("enough")),
      });
      await assert.rejects(fetchObject({ ...options, backOff: slow }), /enough/);
      assert.equal((await stat(`${into}.partial`)).size, half);
    }));

  it("frees the space of a half download when the disk is full, and succeeds once there is space", () =>
    inTemporaryDirectory((directory) =>
      withServer({ [path]: bytes }, async ({ url }) => {
        const into = join(directory, "object");
        const error = await failsWith(
          "disk-full",
          onFullDisk(half, () => fetchObject(wanted(into, { sources: [sourceAt(url)] }))),
        );
        assert.equal(error.retryable, true);
        assert.deepEqual(await readdir(directory), []);
        await fetchObject(wanted(into, { sources: [sourceAt(url)] }));
        await holds(into);
      }),
    ));

  it("shares one download between callers who want the same file", () =>
    inTemporaryDirectory((directory) =>
      withPeer(
        (socket, request) => deliver(socket, request, bytes),
        async ({ url, requests }) => {
          const into = join(directory, "object");
          const all = await Promise.all([1, 2, 3].map(() => fetchObject(wanted(into, { sources: [sourceAt(url)] }))));
          assert.equal(requests.length, 1);
          assert.deepEqual(
            all.map((fetched) => fetched.bytes).sort((a, b) => a - b),
            [0, 0, bytes.length],
          );
        },
      ),
    ));

  it("waits for another's download no longer than it may, and goes on where the other had to stop", () =>
    inTemporaryDirectory((directory) =>
      withPeer(
        (socket, request, nth) => deliver(socket, request, bytes, nth === 1 ? half : bytes.length),
        async ({ url, requests }) => {
          const into = join(directory, "object");
          const [first, second] = [new AbortController(), new AbortController()];
          const coming = cutAt(half, () => second.abort(new Error("enough")));
          const options = wanted(into, { sources: [sourceAt(url)] });
          const all = [
            fetchObject({ ...options, signal: first.signal, onProgress: coming }),
            fetchObject({ ...options, signal: second.signal }),
            fetchObject(options),
          ] as const;
          await assert.rejects(all[1], /enough/);
          first.abort(new Error("late"));
          await assert.rejects(all[0], /late/);
          assert.equal((await all[2]).bytes, bytes.length - half);
          assert.equal(requests.length, 2);
          await holds(into);
        },
      ),
    ));

  it("does not take an old file under the name for the object", () =>
    inTemporaryDirectory((directory) =>
      withServer({ [path]: bytes }, async ({ url }) => {
        const into = join(directory, "object");
        await writeFile(into, "something else");
        await fetchObject(wanted(into, { sources: [sourceAt(url)] }));
        await holds(into);
      }),
    ));

  it("checks an artifact against its artifact root, and its length against the limit", () =>
    inTemporaryDirectory(async (directory) => {
      const root = artifactRoot(bytes);
      const artifact = `/submissions/${root}`;
      const into = join(directory, root);
      await withServer({ [artifact]: bytes }, async ({ url }) => {
        const options = { sources: [sourceAt(url)], root, path: artifact, into, backOff };
        await failsWith("object-oversize", fetchArtifact({ ...options, maximumBytes: bytes.length - 1 }));
        const fetched = await fetchArtifact({ ...options, maximumBytes: bytes.length });
        assert.equal(fetched.length, bytes.length);
        await holds(into);
      });
      const other = `/submissions/${"0".repeat(64)}`;
      await withServer({ [other]: bytes }, async ({ url }) => {
        const options = { sources: [sourceAt(url)], root: "0".repeat(64), path: other, into: join(directory, "other"), maximumBytes: 2e6 };
        await failsWith("object-hash-mismatch", fetchArtifact(options));
      });
    }));
});
