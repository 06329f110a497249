import assert from "node:assert/strict";
import { resolveNetwork } from "../../src/chain/networks.ts";

describe("chain/networks", () => {
  it("knows the networks that operators know by name", () => {
    assert.deepEqual(resolveNetwork("finney"), ["wss://entrypoint-finney.opentensor.ai:443"]);
    assert.deepEqual(resolveNetwork("test"), ["wss://test.finney.opentensor.ai:443"]);
    assert.deepEqual(resolveNetwork("archive"), ["wss://archive.chain.opentensor.ai:443"]);
    assert.deepEqual(resolveNetwork("local"), ["ws://127.0.0.1:9944"]);
  });

  it("takes addresses, in the order given", () => {
    assert.deepEqual(resolveNetwork("ws://[::1]:1, wss://node.example/path"), ["ws://[::1]:1", "wss://node.example/path"]);
  });

  it("refuses anything else", () => {
    for (const network of ["", "mainnet", "http://node.example", "ws://", "constructor", "ws://a b", "ws://one,two"]) {
      assert.throws(() => resolveNetwork(network), { code: "network-unknown", exit: 2 });
    }
  });
});
