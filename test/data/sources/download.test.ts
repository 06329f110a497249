import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { download, probe } from "../../../src/data/sources/download.ts";
import { assertUnchanged, bringSource, checkSources } from "../../../src/data/sources/local.ts";
import { parseSource } from "../../../src/data/sources/source.ts";

const content = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `line ${i}\n`).join(""));

describe("data/sources/download", () => {
  let directory: string;
  let server: Server;
  let origin: string;
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  let requests: IncomingMessage[];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-download-"));
    requests = [];
    server = createServer((request, response) => {
      requests.push(request);
      answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true });
  });

  /** A server as there are many: ranges, an ETag; `cut` ends the connection after so many bytes of the body. */
  function serve(bytes: Buffer, etag: string | undefined, options: { cut?: number; ranges?: boolean } = {}) {
    answer = ({ headers }, response) => {
      const start = options.ranges === false ? undefined : /^bytes=(\d+)-(\d*)/.exec(headers.range ?? "");
      const from = Number(start?.[1] ?? 0);
      if (etag !== undefined) response.setHeader("etag", etag);
      if (from >= bytes.length) {
        response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
        return;
      }
      const to = start?.[2] ? Number(start[2]) + 1 : bytes.length;
      const extent = start === null || start === undefined ? {} : { "content-range": `bytes ${from}-${to - 1}/${bytes.length}` };
      response.writeHead(start ? 206 : 200, { ...extent, "content-length": to - from });
      const body = bytes.subarray(from, to);
      if (options.cut === undefined || body.length <= options.cut) response.end(body);
      else response.write(body.subarray(0, options.cut), () => setTimeout(() => response.destroy(), 100));
    };
  }
  const status = (code: number) => {
    answer = (_, response) => void response.writeHead(code).end("no");
  };
  const get = () => download(`${origin}/a.txt`, { directory, firstPause: 1 });
  const ranges = () => requests.map(({ headers }) => headers.range);

  it("brings the content, and asks once more only whether it is still the same", async () => {
    serve(content, '"one"');
    assert.deepEqual(await readFile(await get()), content);
    requests = [];
    assert.deepEqual(await readFile(await get()), content);
    assert.equal(requests.length, 1);
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name.endsWith(".partial")),
      [],
    );
  });

  it("goes on by range where a connection was cut, again and again", async () => {
    serve(content, '"one"', { cut: 100_000 });
    assert.deepEqual(await readFile(await get()), content);
    const [first, ...rest] = ranges();
    assert.equal(first, undefined);
    assert.equal(rest.length, Math.ceil(content.length / 100_000) - 1);
    assert.ok(rest.every((range) => /^bytes=[1-9]\d*-$/.test(range ?? "")));
  });

  it("begins anew where the server cannot go on, or does not say that it is the same", async () => {
    for (const [etag, ranges] of [
      ['"one"', false],
      [undefined, true],
    ] as const) {
      serve(content, etag, { cut: 100_000, ranges });
      await assert.rejects(get(), { code: "data-unreachable", retryable: true });
      serve(content, etag, { ranges });
      assert.deepEqual(await readFile(await get()), content);
      await rm(directory, { recursive: true });
    }
    directory = await mkdtemp(join(tmpdir(), "connito-download-"));
  });

  it("never puts a file together from two versions", async () => {
    const changed = Buffer.from(content.toString("latin1").replaceAll("line", "word"), "latin1");
    let served = 0;
    serve(content, '"one"', { cut: 200_000 });
    const old = answer;
    answer = (request, response) => {
      if (served++ === 0) old(request, response);
      else {
        serve(changed, '"two"');
        answer(request, response);
      }
    };
    assert.deepEqual(await readFile(await get()), changed);
    serve(content, '"three"');
    assert.deepEqual(await readFile(await get()), content, "what was finished before is not taken for the new one");
  });

  it("tells gated, missing and failing sources apart, before anything is brought", async () => {
    const cases: [number, string, number][] = [
      [401, "data-gated", 13],
      [403, "data-gated", 13],
      [404, "data-missing", 13],
      [410, "data-missing", 13],
      [503, "data-unreachable", 30],
    ];
    for (const [code, expected, exit] of cases) {
      status(code);
      for (const act of [() => probe(`${origin}/a.txt?token=secret`), get]) {
        await assert.rejects(act, (error: { code: string; exit: number; message: string; hint: string }) => {
          assert.deepEqual([error.code, error.exit], [expected, exit]);
          assert.ok(error.message.includes(String(code)) && error.hint !== "" && !error.message.includes("secret"));
          return true;
        });
      }
    }
    serve(content, undefined);
    await probe(`${origin}/a.txt`);
    const local = parseSource(join(directory, "nowhere.txt"));
    await assert.rejects(checkSources([parseSource(`${origin}/a.txt`), local]), { code: "data-missing" });
    server.close();
    server.closeAllConnections();
    await assert.rejects(probe(`${origin}/a.txt`), { code: "data-unreachable", retryable: true });
  });

  it("gives the hub's token to the hub and to nobody else", async () => {
    serve(content, undefined);
    const before = { ...process.env };
    try {
      process.env["HF_TOKEN"] = "hf_secret";
      await probe(`${origin}/a.txt`);
      process.env["HF_ENDPOINT"] = origin;
      await probe(`${origin}/a.txt`);
    } finally {
      for (const name of ["HF_TOKEN", "HF_ENDPOINT"]) {
        if (before[name] === undefined) delete process.env[name];
        else process.env[name] = before[name];
      }
    }
    assert.deepEqual(
      requests.map(({ headers }) => headers.authorization),
      [undefined, "Bearer hf_secret"],
    );
  });

  it("stops when it is asked to, and goes on later", async () => {
    serve(content, '"one"', { cut: 100_000 });
    const abort = new AbortController();
    const stopped = download(`${origin}/a.txt`, {
      directory,
      firstPause: 1,
      signal: abort.signal,
      onProgress: () => abort.abort(new Error("enough")),
    });
    await assert.rejects(stopped, { message: "enough" });
    serve(content, '"one"');
    requests = [];
    assert.deepEqual(await readFile(await get()), content);
    assert.match(ranges()[0] ?? "", /^bytes=[1-9]/);
  });

  describe("sources", () => {
    it("are held to the hash that pins them", async () => {
      serve(content, '"one"');
      const hash = createHash("sha256").update(content).digest("hex");
      const [file] = await bringSource(parseSource(`${origin}/a.txt#sha256=${hash}`), { directory });
      assert.deepEqual([file?.hash, file?.bytes], [hash, content.length]);
      const wrong = bringSource(parseSource(`${origin}/a.txt#sha256=${"00".repeat(32)}`), { directory });
      await assert.rejects(wrong, { code: "data-changed", exit: 40 });
    });

    it("may be directories, whose files come in the order of their names", async () => {
      for (const name of ["b.txt", "a.txt", ".hidden"]) await writeFile(join(directory, name), name);
      const files = await bringSource(parseSource(directory), { directory });
      assert.deepEqual(
        files.map(({ path }) => path),
        [join(directory, "a.txt"), join(directory, "b.txt")],
      );
      await assertUnchanged(files);
      await writeFile(join(directory, "a.txt"), "longer than before");
      await assert.rejects(assertUnchanged(files), { code: "data-changed" });
    });
  });
});
