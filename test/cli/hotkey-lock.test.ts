import assert from "node:assert/strict";
import { lockHotkey } from "../../src/cli/hotkey-lock.ts";

describe("the lock of a hotkey", () => {
  const chainAt = (endpoint: string) => ({ genesisHash: `0x${"7".repeat(64)}`, endpoint: () => endpoint });
  const hotkey = `5Test${process.pid}`;

  it("is one for a chain, whichever of its endpoints is used, and another for each local chain", async () => {
    const lock = await lockHotkey(hotkey, chainAt("wss://one.example:443"));
    await assert.rejects(lockHotkey(hotkey, chainAt("wss://two.example:443")), {
      code: "hotkey-in-use",
      exit: 11,
      message: new RegExp(`${hotkey}.*${process.pid}`),
    });
    const others = await Promise.all([
      lockHotkey(`${hotkey}b`, chainAt("wss://one.example:443")),
      lockHotkey(hotkey, chainAt("ws://127.0.0.1:9944")),
      lockHotkey(hotkey, chainAt("ws://127.0.0.1:9945")),
    ]);
    for (const taken of [lock, ...others]) await taken.release();
    await (await lockHotkey(hotkey, chainAt("wss://two.example:443"))).release();
  });
});
