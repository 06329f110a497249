import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connito } from "../cli/process.ts";

/** The first development account, by the phrase that everybody knows. */
const phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const address = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";

describe("wallet commands", () => {
  let directory: string;
  const run = (args: readonly string[], input?: string) =>
    connito(["wallet", ...args, "--json"], { env: { BT_WALLET_PATH: directory }, ...(input === undefined ? {} : { input }) });
  const document = async (ended: ReturnType<typeof run>) => JSON.parse((await ended).stdout);

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-wallets-"));
  });
  after(() => rm(directory, { recursive: true }));

  it("make, list and open a hotkey, and never print its secret", async () => {
    const made = await document(run(["new", "--wallet-name", "miners", "--hotkey", "first"]));
    assert.deepEqual([made.wallet, made.hotkey, made.encrypted], ["miners", "first", false]);
    assert.equal((await stat(made.file)).mode & 0o777, 0o600);
    const { secretPhrase, secretSeed } = JSON.parse(await readFile(made.file, "utf8"));

    const [listed, shown] = await Promise.all([
      run(["list", "--wallet-name", "miners"]),
      run(["show", "--wallet-name", "miners", "--hotkey", "first"]),
    ]);
    assert.deepEqual(JSON.parse(listed.stdout).hotkeys, [{ wallet: "miners", hotkey: "first", address: made.address }]);
    assert.equal(JSON.parse(shown.stdout).address, made.address);
    for (const secret of [secretPhrase, secretSeed]) assert.ok(!JSON.stringify([made, listed, shown]).includes(secret));
  });

  it("restore a hotkey from its phrase on stdin, once", async () => {
    const restored = await document(run(["new", "--hotkey", "restored", "--phrase-file", "-"], `${phrase}\n`));
    assert.equal(restored.address, address);
    assert.ok((await document(run(["list"]))).hotkeys.some(({ wallet }: { wallet: string }) => wallet === "default"));
    const again = await run(["new", "--hotkey", "restored"]);
    assert.deepEqual([again.code, JSON.parse(again.stdout).error.code], [12, "wallet-exists"]);
  });

  it("refuse a hotkey that is not there, with exit code 12", async () => {
    const missing = await run(["show", "--hotkey", "nobody"]);
    assert.deepEqual([missing.code, JSON.parse(missing.stdout).error.code], [12, "wallet-not-found"]);
  });

  it("say which flag is missing where a password is needed and nobody can be asked", async () => {
    const hotkeys = join(directory, "default", "hotkeys");
    await mkdir(hotkeys, { recursive: true });
    await writeFile(join(hotkeys, "locked"), Buffer.concat([Buffer.from("$NACL"), Buffer.alloc(200)]));
    for (const args of [
      ["new", "--hotkey", "asked", "--encrypt"],
      ["show", "--hotkey", "locked"],
    ]) {
      const { code, stdout } = await run(args);
      assert.deepEqual([code, JSON.parse(stdout).error.code], [2, "input-missing"]);
    }
  });
});
