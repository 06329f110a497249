import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fetchObject } from "../../src/exchange/fetch-object.ts";
import { createManifest, encodeManifest, type Manifest, manifestRoot } from "../../src/model/manifest.ts";
import { provideManifest } from "../../src/steps/manifests.ts";
import { deliver, hashOf, head, host, rangeStart, sourceAt, withPeer, withServer } from "../exchange/support.ts";
import { hash } from "../protocol/support.ts";
import { inTemporaryDirectory } from "../workspace/support.ts";
import { withReader } from "./evaluate/reader.ts";

const norm = { role: "backbone", dtype: "BF16", shape: [4], bytes: 8 } as const;
const pieces = Array.from({ length: 9 }, (_, index) => ({ ...norm, name: `norm.${index}`, hash: hash(`norm ${index}`) }));
const manifest = createManifest(hash("config"), hash("tokenizer"), pieces);
const root = manifestRoot(manifest);
const path = `/manifests/${root}.json`;
const bytes = Buffer.from(encodeManifest(manifest));
const another = Buffer.from(encodeManifest(createManifest(hash("another"), hash("tokenizer"), pieces)));

/** What is kept, in the end, of the manifest from these peers. */
async function provided(
  ...urls: readonly string[]
): Promise<{ readonly given: Manifest; readonly kept: Buffer; readonly notes: unknown[] }> {
  let found: Awaited<ReturnType<typeof provided>> | undefined;
  await withReader({ role: "miner" }, async ({ context, notes }) => {
    const sources = urls.map((url) => sourceAt(url));
    const [given, shared] = await Promise.all([0, 1].map(() => provideManifest(context, sources, root)));
    assert.deepEqual(shared, given);
    found = { given: given as Manifest, kept: await readFile(context.workspace.layout.manifest(root)), notes };
  });
  return found as Awaited<ReturnType<typeof provided>>;
}

describe("a manifest from peers", () => {
  it("is not asked of whom is slow while another has it", () =>
    withPeer(
      (socket) => {
        socket.write(head("200 OK", "content-length: 1000000"));
        const drip = setInterval(() => socket.write("."), 30);
        socket.on("close", () => clearInterval(drip));
      },
      async ({ url: slow, requests }) => {
        const other = randomBytes(100_000);
        const object = `/objects/${hashOf(other)}`;
        await withServer({ [path]: bytes, [object]: other }, async ({ url }) => {
          const sources = [sourceAt(slow), sourceAt(url)];
          await inTemporaryDirectory((directory) =>
            fetchObject({
              sources,
              hash: hashOf(other),
              path: object,
              into: join(directory, "o"),
              maximumBytes: 1e6,
              turnMilliseconds: 100,
            }),
          );
          const { given, kept } = await provided(slow, url);
          assert.deepEqual(given, manifest);
          assert.ok(kept.equals(bytes));
          assert.ok(!requests.some((request) => request.includes(path)));
        });
      },
    ));

  it("goes on with another peer from where one left off", () => {
    const asked: number[] = [];
    const answering = (upTo: number) => (socket: Parameters<typeof deliver>[0], request: string) => {
      asked.push(rangeStart(request));
      deliver(socket, request, bytes, upTo);
      if (upTo < bytes.length) setTimeout(() => socket.destroy(), 100);
    };
    return withPeer(answering(200), ({ url: broken }) =>
      withPeer(answering(bytes.length), async ({ url }) => {
        assert.deepEqual((await provided(broken, url)).given, manifest);
        assert.deepEqual(asked, [0, 200]);
      }),
    );
  });

  it("is kept in canonical form, and is none that has another root or is no manifest", () =>
    withServer({ [path]: another }, ({ url: lying }) =>
      withServer({ [path]: Buffer.from("{}") }, ({ url: nonsense }) =>
        withServer({ [path]: Buffer.from(JSON.stringify(JSON.parse(bytes.toString()), undefined, 2)) }, async ({ url }) => {
          const { given, kept, notes } = await provided(lying, nonsense, url);
          assert.deepEqual(given, manifest);
          assert.ok(kept.equals(bytes));
          assert.deepEqual(notes, ["manifest-root-mismatch", "manifest-invalid"]);
          const away = `http://${host}:1`;
          await assert.rejects(provided(lying, nonsense), { code: "manifest-root-mismatch", exit: 40 });
          await assert.rejects(provided(lying, away), { code: "manifest-unavailable", retryable: true });
          await assert.rejects(provided(), { code: "manifest-unavailable" });
        }),
      ),
    ));
});
