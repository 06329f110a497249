import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { headerNames, type RequestSigner, signRequest } from "../../src/exchange/authentication.ts";
import { collectBytes, openSource } from "../../src/exchange/exchange.ts";
import { createAgreementKey } from "../../src/exchange/key-agreement.ts";
import { type ServerOptions, startServer } from "../../src/exchange/server.ts";
import { sessionHeaders } from "../../src/exchange/sessions.ts";
import { fromHex, toHex } from "../../src/protocol/hash.ts";
import { requestMessage } from "../../src/protocol/request.ts";
import { failsWith, inTemporaryDirectory } from "../workspace/support.ts";
import {
  hashOf,
  host,
  miner,
  participant,
  rawRequest,
  server,
  sessionAt,
  sourceAt,
  stranger,
  validator,
  verify,
  withServer,
} from "./support.ts";

/** As they were before any server started. */
const platform = { Request: globalThis.Request, Response: globalThis.Response };
const bytes = randomBytes(3_000_000);
const path = `/objects/${hashOf(bytes)}`;
const opening = `/sessions/${createAgreementKey().publicKey}`;

/** Fetches in a session of its own. */
async function ask(
  url: string,
  asked = path,
  { signer = miner, range, method = "GET" }: { signer?: RequestSigner; range?: string; method?: string } = {},
) {
  const headers = (await sessionAt(url, signer))({ method, path: asked, range });
  return fetch(url + asked, { method, headers: range === undefined ? headers : { ...headers, range } });
}

async function codeOf(response: Response): Promise<string> {
  return `${response.status} ${((await response.json()) as { code: string }).code}`;
}

describe("server", () => {
  it("delivers bytes and ranges of files, whole and in part, with their lengths", () =>
    inTemporaryDirectory(async (directory) => {
      const file = join(directory, "checkpoint");
      await writeFile(file, Buffer.concat([Buffer.from("before"), bytes, Buffer.from("after")]));
      for (const published of [bytes, { file, offset: 6, bytes: bytes.length }]) {
        await withServer({ [path]: published }, async ({ url }) => {
          const whole = await ask(url);
          assert.equal(whole.status, 200);
          assert.equal(whole.headers.get("content-length"), String(bytes.length));
          assert.ok(Buffer.from(await whole.arrayBuffer()).equals(bytes));
          for (const [range, first, end] of [
            ["bytes=0-0", 0, 1],
            ["bytes=5-1000000", 5, 1_000_001],
            ["bytes=2999990-", 2_999_990, 3_000_000],
            ["bytes=10-99999999", 10, 3_000_000],
          ] as const) {
            const part = await ask(url, path, { range });
            assert.equal(part.status, 206);
            assert.equal(part.headers.get("content-range"), `bytes ${first}-${end - 1}/3000000`);
            assert.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(first, end)));
          }
          for (const range of ["bytes=3000000-", "bytes=5-4", "bytes=-5", "bytes=0-1,5-6", "bytes=a-", "lines=0-1", "bytes=00-1"]) {
            const refused = await ask(url, path, { range });
            assert.equal(refused.status, 416, range);
            assert.equal(refused.headers.get("content-range"), "bytes */3000000");
          }
          const head = await ask(url, path, { method: "HEAD" });
          assert.equal(head.status, 200);
          assert.equal(head.headers.get("content-length"), "3000000");
          assert.equal((await head.arrayBuffer()).byteLength, 0);
        });
      }
    }));

  it("delivers empty objects", () =>
    withServer({ [path]: new Uint8Array(0) }, async ({ url }) => {
      const response = await ask(url);
      assert.equal(response.status, 200);
      assert.equal((await response.arrayBuffer()).byteLength, 0);
    }));

  it("tells missing, forbidden and broken apart, and goes on", () => {
    const errors: unknown[] = [];
    const contents = { [path]: { file: "/nowhere", offset: 0, bytes: 5 }, "/task.json": "forbidden" as const };
    const work = withServer(
      contents,
      async ({ url }) => {
        assert.equal(await codeOf(await ask(url, `/objects/${"0".repeat(64)}`)), "404 object-not-found");
        assert.equal(await codeOf(await ask(url, "/task.json")), "403 not-allowed-now");
        assert.equal(await codeOf(await ask(url)), "503 server-trouble");
        assert.equal(await codeOf(await ask(url, "/task.json")), "403 not-allowed-now");
      },
      { onError: (error) => errors.push(error) },
    );
    return work.then(() => assert.equal(errors.length, 1));
  });

  it("tells the publication who asks for what", async () => {
    const asked: unknown[] = [];
    const resolve = async (...question: unknown[]): Promise<Uint8Array> => {
      asked.push(question);
      return Buffer.from("x");
    };
    await withServer({}, async ({ url }) => void (await ask(url, path, { signer: validator })), { publication: { resolve } });
    assert.deepEqual(asked, [[path, validator.address, { kind: "object", hash: hashOf(bytes) }]]);
  });

  it("takes a signature of the real kind, and no other's", async () => {
    const { developmentSigner, verifySignature } = await import("../../src/chain/signer.ts");
    const [alice, bob] = await Promise.all([developmentSigner("//Alice"), developmentSigner("//Bob")]);
    const options = { authorize: () => true, verify: verifySignature };
    await withServer(
      { [path]: Buffer.from("real") },
      async ({ url }) => {
        const source = openSource(url, { signer: alice, blockNumber: async () => 1000, receiver: server.address });
        assert.equal(Buffer.from(await collectBytes(await source.get(path, { maximumBytes: 100 }), 100)).toString(), "real");
        const impostor = openSource(url, {
          signer: { address: alice.address, sign: bob.sign },
          blockNumber: () => 1000,
          receiver: server.address,
        });
        await failsWith("request-refused", impostor.get(path, { maximumBytes: 100 }));
      },
      options,
    );
  });

  it("opens no two sessions by one signature, also when all copies are checked at the same time", () => {
    let checking = 0;
    const together: ServerOptions["verify"] = async (...question) => {
      checking++;
      while (checking < 4) await new Promise((resolve) => setImmediate(resolve));
      return verify(...question);
    };
    return withServer(
      {},
      async ({ url }) => {
        const headers = signRequest(miner, { method: "GET", path: opening, receiver: server.address, block: 1000 });
        const copies = await Promise.all([1, 2, 3, 4].map(() => fetch(url + opening, { headers })));
        assert.deepEqual(copies.map(({ status }) => status).sort(), [200, 401, 401, 401]);
        for (const response of copies) await response.arrayBuffer();
        assert.equal(await codeOf(await fetch(url + opening, { headers })), "401 nonce-seen");
      },
      { verify: together },
    );
  });

  it("answers a request in a session once, whoever sends it again, and in any order", () =>
    withServer({ [path]: Buffer.from("once") }, async ({ url }) => {
      const prove = await sessionAt(url);
      const requests = Array.from({ length: 260 }, () => prove({ method: "GET", path }));
      const send = async (index: number, changes: Record<string, string> = {}): Promise<string> => {
        const response = await fetch(url + path, { headers: { ...requests[index], ...changes } });
        return response.status === 200 ? response.text() : codeOf(response);
      };
      assert.deepEqual(await Promise.all([send(2), send(0), send(1)]), ["once", "once", "once"]);
      assert.equal(await send(1), "401 count-seen");
      assert.equal(await send(259), "once");
      assert.equal(await send(4), "once", "within the window");
      assert.equal(await send(3), "401 count-seen", "below the window");
      assert.equal(await send(4), "401 count-seen");
      assert.equal(await send(5, { [sessionHeaders.count]: "7" }), "401 proof-invalid");
      assert.equal(await send(5, { range: "bytes=0-0" }), "401 proof-invalid");
      assert.equal(await send(5, { [sessionHeaders.proof]: "0".repeat(64) }), "401 proof-invalid");
      assert.equal(await send(5, { [sessionHeaders.session]: "0".repeat(32) }), "401 session-unknown");
      assert.equal(await codeOf(await fetch(`${url}/task.json`, { headers: requests[5] as Record<string, string> })), "401 proof-invalid");
      assert.equal(
        await codeOf(
          await fetch(url + path, { method: "HEAD", headers: requests[5] as Record<string, string> }).then(() => fetch(url + path)),
        ),
        "401 session-missing",
      );
      assert.equal(await send(5), "once", "a bad copy does not use up the count");
    }));

  it("knows no session of before it was started, nor one of another server", async () => {
    const { url, prove } = await withServer({}, async ({ url: first }) => ({ url: first, prove: await sessionAt(first) }));
    const port = Number(new URL(url).port);
    await withServer(
      { [path]: Buffer.from("x") },
      async () => {
        assert.equal(await codeOf(await fetch(url + path, { headers: prove({ method: "GET", path }) })), "401 session-unknown");
        assert.equal((await ask(url)).status, 200);
      },
      { port },
    );
  });

  it("ends sessions that are idle, old or too many, and asks of each request whether its sender is still registered", async () => {
    let registered = true;
    await withServer(
      { [path]: Buffer.from("x") },
      async ({ url }) => {
        const get = async (prove: Awaited<ReturnType<typeof sessionAt>>): Promise<string> => {
          const response = await fetch(url + path, { headers: prove({ method: "GET", path }) });
          return response.status === 200 ? response.text() : codeOf(response);
        };
        const first = await sessionAt(url);
        const second = await sessionAt(url);
        assert.deepEqual([await get(second), await get(first)], ["x", "x"]);
        const third = await sessionAt(url);
        assert.deepEqual([await get(first), await get(second), await get(third)], ["x", "401 session-unknown", "x"], "two of one sender");
        const others = [await sessionAt(url, validator), await sessionAt(url, validator)];
        assert.deepEqual([await get(first), await get(third)], ["401 session-unknown", "x"], "three of all");
        registered = false;
        assert.equal(await get(third), "403 not-registered");
        registered = true;
        await new Promise((resolve) => setTimeout(resolve, 450));
        assert.equal(await get(others[0] as typeof first), "401 session-unknown", "idle for too long");
      },
      { authorize: () => registered, sessions: { sessions: 3, sessionsOfOne: 2, idleMilliseconds: 400 } },
    );
  });

  it("opens no session for a key that gives no secret", () =>
    withServer({}, async ({ url }) => {
      for (const key of ["0".repeat(64), `01${"0".repeat(62)}`]) {
        const weak = `/sessions/${key}`;
        const headers = signRequest(miner, { method: "GET", path: weak, receiver: server.address, block: 1000 });
        assert.equal(await codeOf(await fetch(url + weak, { headers })), "400 session-key-invalid");
      }
    }));

  it("leaves the platform's own fetch objects as they are", async () => {
    await withServer({}, async () => undefined);
    assert.equal(globalThis.Request, platform.Request);
    assert.equal(globalThis.Response, platform.Response);
  });

  it("refuses a request that was signed for anything else, or by anybody else", () =>
    withServer({ [path]: Buffer.from("x"), "/task.json": Buffer.from("y") }, async ({ url }) => {
      const signed = { method: "GET", path: opening, receiver: server.address, block: 1000 };
      const good = signRequest(miner, signed);
      const cases: [string, Record<string, string>][] = [
        ["another path", signRequest(miner, { ...signed, path: `/sessions/${"1".repeat(64)}` })],
        ["another method", signRequest(miner, { ...signed, method: "HEAD" })],
        ["a range that is not asked", signRequest(miner, { ...signed, range: "bytes=0-0" })],
        ["another server", signRequest(miner, { ...signed, receiver: validator.address })],
        ["another block", { ...good, [headerNames.block]: "1001" }],
        ["another nonce", { ...good, [headerNames.nonce]: "0".repeat(32) }],
        ["another sender", { ...good, [headerNames.hotkey]: validator.address }],
      ];
      for (const [what, headers] of cases) {
        assert.equal(await codeOf(await fetch(url + opening, { headers })), "401 signature-invalid", what);
      }
      assert.equal(await codeOf(await fetch(url + opening, { headers: { ...good, range: "bytes=0-0" } })), "401 signature-invalid");
      assert.equal((await fetch(url + opening, { headers: good })).status, 200, "a bad copy does not use up the nonce");
    }));

  it("refuses who is not registered, what is not signed, and blocks too far away", () =>
    withServer({ [path]: Buffer.from("x") }, async ({ url }) => {
      const strange = signRequest(stranger, { method: "GET", path: opening, receiver: server.address, block: 1000 });
      assert.equal(await codeOf(await fetch(url + opening, { headers: strange })), "403 not-registered");
      assert.equal(await codeOf(await fetch(url + opening)), "401 signature-missing");
      const signed = { method: "GET", path: opening, receiver: server.address };
      for (const block of [979, 1021, 0, 2 ** 32 - 1]) {
        assert.equal(await codeOf(await fetch(url + opening, { headers: signRequest(miner, { ...signed, block }) })), "401 block-too-far");
      }
      for (const block of [980, 1020])
        assert.equal((await fetch(url + opening, { headers: signRequest(miner, { ...signed, block }) })).status, 200);
      const good = signRequest(miner, { ...signed, block: 1000 });
      const malformed = { hotkey: "5x", block: "1e3", nonce: "00", signature: "zz".repeat(64) };
      for (const [name, value] of Object.entries(malformed)) {
        const headers = { ...good, [headerNames[name as keyof typeof malformed]]: value };
        assert.equal(await codeOf(await fetch(url + opening, { headers })), "401 signature-missing", name);
      }
    }));

  it("forgets nonces only when their block is too old, also when its node falls back, and refuses when it cannot remember more", async () => {
    let head = 1000;
    await withServer(
      { [path]: Buffer.from("x") },
      async ({ url }) => {
        const sign = (block: number, signer = miner): Record<string, string> =>
          signRequest(signer, { method: "GET", path: opening, receiver: server.address, block });
        const get = async (headers: Record<string, string>): Promise<number> => (await fetch(url + opening, { headers })).status;
        const first = sign(990);
        assert.deepEqual([await get(first), await get(sign(1000)), await get(sign(1000))], [200, 200, 429], "two of one sender");
        assert.deepEqual([await get(sign(1000, validator)), await get(sign(1000, validator))], [200, 429], "three of all");
        head = 1011;
        assert.equal(await get(first), 401);
        assert.equal(await get(sign(1011)), 200, "there is room again");
        head = 1000;
        assert.equal(await get(first), 401, "a node that falls back does not reopen the window");
      },
      { finalizedBlock: () => head, maximumNonces: 3, maximumNoncesOfOne: 2 },
    );
  });

  it("answers nothing outside its table, however the path is written", () =>
    withServer({ [path]: Buffer.from("x") }, async ({ url, port }) => {
      const prove = await sessionAt(url);
      const paths = [
        "/objects/../../etc/passwd",
        "/objects/%2e%2e/%2e%2e/etc/passwd",
        "/objects/..%2f..%2fetc%2fpasswd",
        "/objects/..\\..\\etc\\passwd",
        `${path}%00`,
        `${path}/../x`,
        `/./objects/${hashOf(bytes)}`,
        `/%6fbjects/${hashOf(bytes)}`,
        `//objects/${hashOf(bytes)}`,
        `${path}?a=b`,
        `${opening}/`,
        opening.toUpperCase(),
        `http://${host}${path}`,
        "*",
      ];
      for (const odd of paths) {
        const headers = Object.entries(prove({ method: "GET", path: odd }));
        const lines = [...headers.map(([name, value]) => `${name}: ${value}`), "host: x", "connection: close", "", ""];
        const answer = await rawRequest(port, `GET ${odd} HTTP/1.1\r\n${lines.join("\r\n")}`);
        assert.match(answer, /^HTTP\/1\.1 40[04] /, odd);
      }
      assert.match(await rawRequest(port, `GET ${path}\0 HTTP/1.1\r\nhost: x\r\n\r\n`), /^HTTP\/1\.1 400 /);
      assert.match(await rawRequest(port, `GET ${path} HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n`), /^HTTP\/1\.1 400 /);
    }));

  it("refuses other methods, bodies and oversize headers", () =>
    withServer({ [path]: Buffer.from("x") }, async ({ url, port }) => {
      for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) assert.equal((await fetch(url + path, { method })).status, 405);
      assert.match(
        await rawRequest(port, `GET ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello`),
        /^HTTP\/1\.1 400 [\s\S]*body-not-allowed/,
      );
      assert.match(await rawRequest(port, `GET ${path} HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(9000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
    }));

  it("hangs up on who never ends the request, and on who never takes the answer", () =>
    inTemporaryDirectory(async (directory) => {
      const file = join(directory, "large");
      await writeFile(file, Buffer.alloc(1 << 25));
      const limits = { headerMilliseconds: 300, idleMilliseconds: 400, requestsOfOne: 1 };
      await withServer(
        { [path]: { file, offset: 0, bytes: 1 << 25 } },
        async ({ url, port }) => {
          assert.match(await rawRequest(port, "GET / HTTP/1.1\r\nhost"), /^(HTTP\/1\.1 408 |$)/);
          const lines = Object.entries((await sessionAt(url))({ method: "GET", path })).map((pair) => pair.join(": "));
          const socket = connect(port, host, () => socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n${lines.join("\r\n")}\r\n\r\n`));
          socket.on("error", () => undefined);
          await new Promise((resolve) => socket.once("readable", resolve));
          assert.equal(await codeOf(await ask(url)), "429 too-many-requests", "its place is taken");
          let status = 429;
          while (status === 429) {
            const response = await ask(url);
            status = response.status;
            await response.body?.cancel();
          }
          assert.equal(status, 200, "and free again once it was cut off");
          socket.destroy();
        },
        { limits },
      );
    }));

  it("limits what is under way, in all and for one", async () => {
    const waiting: (() => void)[] = [];
    const resolve = (): Promise<Uint8Array> => new Promise((done) => waiting.push(() => done(Buffer.from("x"))));
    const arrived = async (count: number): Promise<void> => {
      while (waiting.length < count) await new Promise((done) => setImmediate(done));
    };
    await withServer(
      {},
      async ({ url }) => {
        const first = [ask(url), ask(url)];
        await arrived(2);
        assert.equal(await codeOf(await ask(url)), "429 too-many-requests");
        const third = ask(url, path, { signer: validator });
        await arrived(3);
        assert.equal(await codeOf(await ask(url, path, { signer: validator })), "429 too-many-requests");
        for (const finish of waiting.splice(0)) finish();
        for (const response of await Promise.all([...first, third])) assert.equal(await response.text(), "x");
        const again = ask(url);
        await arrived(1);
        waiting.splice(0)[0]?.();
        assert.equal(await (await again).text(), "x");
      },
      { publication: { resolve }, limits: { requests: 3, requestsOfOne: 2 } },
    );
  });

  it("says who it is, so that a peer named by hand can be asked", () =>
    withServer({ [path]: Buffer.from("x") }, async ({ url }) => {
      const source = openSource(url, { signer: miner, blockNumber: () => 1000 });
      assert.equal((await collectBytes(await source.get(path, { maximumBytes: 10 }), 10)).length, 1);
    }));

  it("says that its port is in use, or its address not ours", () =>
    withServer({}, async ({ port }) => {
      const options = {
        hotkey: server.address,
        publication: { resolve: async () => undefined },
        authorize: () => true,
        verify,
        finalizedBlock: () => 0,
      };
      const error = await failsWith("port-in-use", startServer({ ...options, host, port }));
      assert.match(error.message, new RegExp(String(port)));
      await failsWith("address-unavailable", startServer({ ...options, host: "192.0.2.1", port: 0 }));
    }));

  it("stops even while somebody hangs on an answer", async () => {
    const url = await withServer(
      {},
      async (running) => {
        ask(running.url).catch(() => undefined);
        await new Promise((done) => setTimeout(done, 50));
        return running.url;
      },
      { publication: { resolve: () => new Promise(() => undefined) }, limits: { graceMilliseconds: 50 } },
    );
    await assert.rejects(fetch(url));
  });

  it("asks for signatures over exactly what docs/protocol.md says", () => {
    const signer = participant("anyone");
    const signed = { method: "GET", path: "/task.json", range: "bytes=5-", receiver: server.address, block: 77 };
    const headers = signRequest(signer, signed);
    const nonce = fromHex(headers[headerNames.nonce] as string);
    assert.equal(headers[headerNames.signature], toHex(signer.sign(requestMessage({ ...signed, nonce }))));
    assert.notEqual(signRequest(signer, signed)[headerNames.nonce], headers[headerNames.nonce]);
    assert.equal(sourceAt("http://127.0.0.1:1").locator, "http://127.0.0.1:1");
  });
});
