import assert from "node:assert/strict";
import { toHex } from "../../src/protocol/hash.ts";
import {
  requestProof,
  type SessionParties,
  type SessionRequest,
  senderKeyOf,
  sessionKey,
  sessionPath,
} from "../../src/protocol/session.ts";
import { hash, hotkey } from "./support.ts";

const parties: SessionParties = {
  sender: hotkey("miner"),
  receiver: hotkey("server"),
  senderKey: hash("sender's"),
  receiverKey: hash("receiver's"),
  session: "00".repeat(16),
};
const request: SessionRequest = { method: "GET", path: "/objects/aa", range: "bytes=0-9", count: 1 };

describe("session", () => {
  it("has a key that binds the secret and all that both sides said", () => {
    const secret = new Uint8Array(32);
    const others: Partial<SessionParties>[] = [
      { sender: hotkey("other") },
      { receiver: hotkey("other") },
      { sender: parties.receiver, receiver: parties.sender },
      { senderKey: hash("other") },
      { receiverKey: hash("other") },
      { senderKey: parties.receiverKey, receiverKey: parties.senderKey },
      { session: "01".repeat(16) },
    ];
    const keys = [parties, ...others.map((other) => ({ ...parties, ...other }))].map((each) => toHex(sessionKey(secret, each)));
    keys.push(toHex(sessionKey(secret.fill(1), parties)));
    assert.equal(new Set(keys).size, keys.length);
  });

  it("proves one request, and no other", () => {
    const key = new Uint8Array(32);
    const others: Partial<SessionRequest>[] = [
      { method: "HEAD" },
      { path: "/objects/ab" },
      { range: "bytes=0-8" },
      { range: undefined },
      { count: 2 },
      { path: "/objects/aabytes=0-9", range: "" },
    ];
    const proofs = [request, ...others.map((other) => ({ ...request, ...other }))].map((each) => toHex(requestProof(key, each)));
    proofs.push(toHex(requestProof(key.slice().fill(1), request)));
    assert.equal(new Set(proofs).size, proofs.length);
    assert.deepEqual(requestProof(key, { ...request, range: undefined }), requestProof(key, { ...request, range: "" }));
  });

  it("is opened at a path that names a key, in one spelling", () => {
    assert.equal(senderKeyOf(sessionPath(parties.senderKey)), parties.senderKey);
    for (const odd of [
      "/sessions/",
      `/sessions/${"A".repeat(64)}`,
      `/sessions/${"0".repeat(63)}`,
      `${sessionPath(parties.senderKey)}/`,
      `x${sessionPath(parties.senderKey)}`,
    ])
      assert.equal(senderKeyOf(odd), undefined, odd);
  });
});
