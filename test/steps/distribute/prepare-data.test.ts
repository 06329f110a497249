import assert from "node:assert/strict";
import { appendFile, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseSource } from "../../../src/data/sources/source.ts";
import { byteTokenizer, endOfTextId } from "../../../src/model/byte-tokenizer.ts";
import { documentHash } from "../../../src/protocol/canonical.ts";
import { decodeTokens, type TokenData } from "../../../src/protocol/token-data.ts";
import { type DomainSources, type PrepareDataInput, prepareData } from "../../../src/steps/distribute/prepare-data.ts";
import { silentProgress } from "../../../src/ui/progress.ts";
import { openWorkspace, type Workspace } from "../../../src/workspace/workspace.ts";
import { start } from "../../cli/process.ts";

const tokenizer = Buffer.from(JSON.stringify(byteTokenizer()));

describe("steps/distribute/prepare-data", () => {
  let directory: string;
  let workspace: Workspace;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-data-"));
    workspace = await openWorkspace(join(directory, "state"), { lock: true });
  });
  afterEach(async () => {
    await workspace.close();
    await rm(directory, { recursive: true });
  });

  async function lines(name: string, texts: readonly string[]): Promise<string> {
    const path = join(directory, name);
    await writeFile(path, texts.map((text) => JSON.stringify({ text })).join("\n"));
    return path;
  }
  const sourcesOf = (...written: string[]) => written.map(parseSource);
  const domain = (name: string, sides: Partial<DomainSources>): DomainSources => ({ name, train: [], heldOut: [], split: [], ...sides });

  function prepare(domains: DomainSources[], options: Partial<PrepareDataInput> & { abort?: AbortController } = {}) {
    const context = { workspace, progress: silentProgress, signal: (options.abort ?? new AbortController()).signal, threads: 1 };
    return prepareData(context, {
      domains,
      heldOutShare: 0.2,
      tokenizer,
      endOfText: endOfTextId,
      sequenceLength: 15,
      store: workspace.objects.put,
      onHeldOut: () => undefined,
      ...options,
    });
  }

  /** The documents of a side, as far as its sequences have them whole. */
  async function documentsOf(data: TokenData): Promise<string[]> {
    const tokens: number[] = [];
    for (const { hash } of data.shards) tokens.push(...decodeTokens(data.dtype, await workspace.objects.read(hash)));
    return tokens
      .map((token) => (token === endOfTextId ? "\0" : String.fromCharCode(token)))
      .join("")
      .split("\0")
      .slice(0, -1);
  }
  const stories = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `The story number ${from + i} of the sea.`);

  it("splits by what a document says: about the share, each on one side, whatever its place and company", async () => {
    const file = await lines("a.jsonl", [...stories(0, 500), ...stories(0, 100)]);
    const [first] = await prepare([domain("sea", { split: sourcesOf(file) })]);
    assert.ok(first !== undefined);
    const [train, heldOut] = [new Set(await documentsOf(first.train)), new Set(await documentsOf(first.heldOut))];
    assert.ok([...heldOut].every((text) => !train.has(text)));
    assert.ok(train.size + heldOut.size >= 498 && heldOut.size > 70 && heldOut.size < 130);
    assert.equal(first.train.documents + first.heldOut.documents, 600);

    const other = await lines("b.jsonl", [...stories(400, 800).reverse()]);
    const [second] = await prepare([domain("sea", { split: sourcesOf(other) })]);
    const again = new Set(await documentsOf((second as { heldOut: TokenData }).heldOut));
    for (const text of stories(400, 500)) if (train.has(text) || heldOut.has(text)) assert.ok(!(train.has(text) && again.has(text)), text);
  });

  it("trains on nothing that is held out, in whatever domain", async () => {
    const train = await lines("train.jsonl", stories(0, 100));
    const heldOut = await lines(
      "held-out.jsonl",
      stories(90, 130).map((text) => `  ${text}\n`),
    );
    const other = await lines("other.jsonl", stories(120, 200));
    const domains = [
      domain("sea", { train: sourcesOf(train), heldOut: sourcesOf(heldOut) }),
      domain("land", { train: sourcesOf(other), split: sourcesOf(await lines("more.jsonl", stories(80, 120))) }),
    ];
    const prepared = await prepare(domains);
    const held = new Set((await Promise.all(prepared.map((one) => documentsOf(one.heldOut)))).flat().map((text) => text.trim()));
    const trained = (await Promise.all(prepared.map((one) => documentsOf(one.train)))).flat();
    for (const text of stories(90, 129)) assert.ok(held.has(text), text);
    assert.ok(trained.every((text) => !held.has(text)));
    assert.equal(prepared[0]?.heldOut.documents, 40);
    assert.ok((prepared[0]?.train.documents ?? 0) <= 90);

    const same = [domain("sea", { train: sourcesOf(train), heldOut: sourcesOf(train) })];
    await assert.rejects(prepare(same), { code: "data-too-short", exit: 13, message: /training data of sea/ });
  });

  it("takes what was prepared before, and goes on where it was stopped, to the same bytes", async () => {
    const text = Array.from({ length: 100_000 }, (_, i) => i).join(" ");
    const file = join(directory, "long.txt");
    await writeFile(file, text);
    const domains = [domain("numbers", { split: sourcesOf(file) })];
    const abort = new AbortController();
    let stored = 0;
    const stopping = prepare(domains, {
      abort,
      shardBytes: 100_000,
      store: async (bytes) => {
        if (stored++ === 1) abort.abort(new Error("enough"));
        return workspace.objects.put(bytes);
      },
    });
    await assert.rejects(stopping, { message: "enough" });
    const put: Uint8Array[] = [];
    const store = (bytes: Uint8Array) => {
      put.push(bytes);
      return workspace.objects.put(bytes);
    };
    const resumed = await prepare(domains, { store, shardBytes: 100_000 });
    const done = put.length;
    assert.deepEqual(await prepare(domains, { store, shardBytes: 100_000 }), resumed);
    assert.equal(put.length, done, "the second time nothing is tokenised");

    for (const name of ["preparations", "objects"]) await rm(join(directory, "state", name), { recursive: true });
    const anew = await prepare(domains, { store, shardBytes: 100_000 });
    assert.equal(documentHash({ anew }), documentHash({ anew: resumed }));
    assert.ok(done < put.length - done, `${done} of ${put.length - done} were left to do`);
  });

  it("killed by SIGKILL between two shards, more than once and with a torn note, goes on behind the last shard it noted", async () => {
    const text = join(directory, "long.txt");
    await writeFile(text, Array.from({ length: 100_000 }, (_, i) => i).join(" "));
    const script = fileURLToPath(new URL("scripts/prepare.ts", import.meta.url));
    const run = (state: string, ...more: string[]) => start(["--import", "tsx", script, text, join(directory, state), ...more]).ended;
    const whole = run("whole");
    for (const shards of [3, 2]) assert.equal((await run("killed", String(shards))).signal, "SIGKILL");
    const [notes] = (await readdir(join(directory, "killed", "preparations"))).map((name) =>
      join(directory, "killed", "preparations", name),
    );
    await appendFile(notes as string, '\n{"side":"0.train","sha');
    const [first, last] = [await whole, await run("killed")].map(({ stdout, stderr }) => {
      assert.equal(stderr, "");
      return JSON.parse(stdout) as { prepared: unknown; made: number };
    });
    assert.deepEqual(last?.prepared, first?.prepared);
    // Of the first run's three the last was not noted, of the second's two neither is the last.
    assert.equal(last?.made, (first?.made as number) - 3);
  });

  it("refuses, before it stores anything, what is malformed, what the sequences are too few of, and an end that the model has not", async () => {
    const good = await lines("good.jsonl", stories(0, 100));
    const bad = join(directory, "bad.jsonl");
    await writeFile(bad, `${JSON.stringify({ text: "one" })}\n{`);
    const store = () => assert.fail("nothing is to be stored");
    const both = [domain("a", { split: sourcesOf(good) }), domain("b", { split: sourcesOf(bad) })];
    await assert.rejects(prepare(both, { store }), { code: "data-malformed", message: /line 2/ });
    await assert.rejects(prepare([domain("a", { split: sourcesOf(good) })], { store, endOfText: undefined }), {
      code: "end-of-text-unknown",
    });
    const tooFew = new Error("too few");
    const onHeldOut = () => {
      throw tooFew;
    };
    await assert.rejects(prepare([domain("a", { split: sourcesOf(good) })], { onHeldOut }), tooFew);
  });

  it("downloads once, over whatever the connection does", async () => {
    const content = Buffer.from(
      stories(0, 3000)
        .map((text) => JSON.stringify({ body: text }))
        .join("\n"),
    );
    let asked = 0;
    const listener: RequestListener = ({ headers }, response) => {
      const from = Number(/^bytes=(\d+)-/.exec(headers.range ?? "")?.[1] ?? 0);
      const one = headers.range === "bytes=0-0";
      const body = one ? content.subarray(0, 1) : content.subarray(from, from + 60_000);
      const extent =
        headers.range === undefined ? {} : { "content-range": `bytes ${from}-${one ? 0 : content.length - 1}/${content.length}` };
      response.writeHead(headers.range === undefined ? 200 : 206, {
        etag: '"1"',
        "content-length": one ? 1 : content.length - from,
        ...extent,
      });
      asked += 1;
      response.write(body, () =>
        from + body.length < content.length && !one ? setTimeout(() => response.destroy(), 150) : response.end(),
      );
    };
    const server = createServer(listener).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    try {
      const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/stories.jsonl#field=body`;
      const [prepared] = await prepare([domain("sea", { split: sourcesOf(address) })]);
      assert.equal((prepared?.train.documents ?? 0) + (prepared?.heldOut.documents ?? 0), 3000);
      assert.ok(asked > 2, "it was cut and taken up again");
      assert.equal((await readdir(workspace.layout.sources)).length, 2);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
});
