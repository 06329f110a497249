import assert from "node:assert/strict";
import { toHex } from "../../src/protocol/hash.ts";
import { type RequestToSign, requestMessage } from "../../src/protocol/request.ts";
import { hotkey } from "./support.ts";

const request: RequestToSign = {
  method: "GET",
  path: "/objects/aa",
  range: "bytes=0-9",
  receiver: hotkey("server"),
  block: 10,
  nonce: new Uint8Array(16),
};

describe("request message", () => {
  it("binds every part of the request", () => {
    const others: Partial<RequestToSign>[] = [
      { method: "HEAD" },
      { path: "/objects/ab" },
      { range: "bytes=0-8" },
      { range: undefined },
      { receiver: hotkey("other") },
      { block: 11 },
      { nonce: new Uint8Array(16).fill(1) },
      { path: "/objects/aabytes=0-9", range: "" },
    ];
    const all = [request, ...others.map((other) => ({ ...request, ...other }))].map((each) => toHex(requestMessage(each)));
    assert.equal(new Set(all).size, all.length);
  });

  it("takes no range as an empty one, and nonces of 16 bytes only", () => {
    assert.deepEqual(requestMessage({ ...request, range: undefined }), requestMessage({ ...request, range: "" }));
    assert.throws(() => requestMessage({ ...request, nonce: new Uint8Array(15) }), { code: "nonce-invalid" });
  });
});
