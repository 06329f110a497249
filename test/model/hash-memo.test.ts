import assert from "node:assert/strict";
import { linkSync, lstatSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { openHashMemo } from "../../src/model/hash-memo.ts";
import { inDirectory } from "./support.ts";

const hash = "ab".repeat(32);

async function kept(path: string): Promise<void> {
  const memo = await openHashMemo(path);
  await memo.keep("a key", hash);
  await memo.close();
}

async function found(path: string): Promise<string | undefined> {
  const memo = await openHashMemo(path);
  await memo.close();
  return memo.find("a key");
}

describe("hash memo", () => {
  it("finds what an earlier run kept", async () => {
    await inDirectory(async (directory) => {
      const path = join(directory, "hashes");
      await kept(path);
      await kept(path);
      assert.equal(await found(path), hash);
    });
  });

  for (const [what, plant] of [
    ["a link", symlinkSync],
    ["a second name of another file", linkSync],
  ] as const) {
    it(`neither believes nor writes ${what} that has its name`, async () => {
      await inDirectory(async (directory) => {
        const victim = join(directory, "victim");
        await kept(victim);
        const before = readFileSync(victim);
        const path = join(directory, "hashes");
        plant(victim, path);
        assert.equal(await found(path), undefined);
        await kept(path);
        assert.equal(await found(path), hash);
        assert.ok(lstatSync(path).isFile());
        assert.deepEqual(readFileSync(victim), before);
      });
    });
  }

  it("is begun anew where a link of its name leads nowhere", async () => {
    await inDirectory(async (directory) => {
      const path = join(directory, "hashes");
      symlinkSync(join(directory, "nowhere"), path);
      await kept(path);
      assert.equal(await found(path), hash);
    });
  });
});
