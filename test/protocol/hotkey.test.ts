import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../src/protocol/hash.ts";
import { hotkeyOf, isHotkey, publicKeyOf } from "../../src/protocol/hotkey.ts";

/** Substrate's well-known development accounts. */
const known = {
  "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY": "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
  "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty": "8eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48",
  "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM": "00".repeat(32),
};

describe("hotkey", () => {
  it("decodes and encodes the well-known accounts", () => {
    for (const [address, key] of Object.entries(known)) {
      assert.equal(toHex(publicKeyOf(address)), key);
      assert.equal(hotkeyOf(fromHex(key)), address);
    }
  });

  it("gives back every key", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
        assert.deepEqual(publicKeyOf(hotkeyOf(key)), key);
      }),
    );
  });

  it("refuses an address with any one character changed", () => {
    const address = Object.keys(known)[0] as string;
    fc.assert(
      fc.property(
        fc.nat(address.length - 1),
        fc.constantFrom(..."123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0Il "),
        (at, character) => {
          fc.pre(address[at] !== character);
          assert.equal(isHotkey(address.slice(0, at) + character + address.slice(at + 1)), false);
        },
      ),
    );
  });

  it("refuses other formats, other lengths and what is no text", () => {
    // Alice in Polkadot's format 0 and in Kusama's format 2: the same key under another name.
    for (const wrong of [
      "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
      "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F",
      "",
      "5".repeat(1_000_000),
    ]) {
      assert.throws(() => publicKeyOf(wrong), { code: "invalid-hotkey" });
    }
    assert.equal(isHotkey(undefined), false);
    assert.throws(() => hotkeyOf(new Uint8Array(31)), { code: "invalid-hotkey" });
  });
});
