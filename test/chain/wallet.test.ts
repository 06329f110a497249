import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { boxOf, openBox, readKey, sealBox } from "../../src/chain/key-file.ts";
import { newHotkey } from "../../src/chain/new-hotkey.ts";
import { developmentSigner, verifySignature } from "../../src/chain/signer.ts";
import { listHotkeys, openHotkey } from "../../src/chain/wallet.ts";
import { ConnitoError } from "../../src/errors.ts";

const fixtures = join(import.meta.dirname, "fixtures", "wallets");
const phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const phraseAddress = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";
const aliceAddress = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const seed = "11".repeat(32);
const seedAddress = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";

function refuses(code: string, unwanted: string[] = []): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConnitoError, inspect(error));
    assert.equal(error.code, code, error.message);
    assert.equal(error.exit, code === "wallet-name-invalid" ? 2 : 12);
    assert.ok(error.hint.length > 0);
    for (const secret of unwanted) assert.ok(!inspect(error, { depth: 9 }).includes(secret), "a secret stands in the error");
    return true;
  };
}

describe("chain/wallet", () => {
  let path: string;
  before(async () => {
    path = await mkdtemp(join(tmpdir(), "connito-wallet-"));
  });
  after(() => rm(path, { recursive: true, force: true }));

  async function keyFile(hotkey: string, text: string | Uint8Array): Promise<{ path: string; wallet: string; hotkey: string }> {
    await mkdir(join(path, "own", "hotkeys"), { recursive: true });
    await writeFile(join(path, "own", "hotkeys", hotkey), text);
    return { path, wallet: "own", hotkey };
  }

  describe("what the SDK wrote", () => {
    for (const [hotkey, address] of [
      ["plain", phraseAddress],
      ["uri", aliceAddress],
      ["seed", seedAddress],
    ] as const) {
      it(`opens ${hotkey} and signs what others can verify`, async () => {
        const signer = await openHotkey({ path: fixtures, wallet: "golden", hotkey });
        assert.equal(signer.address, address);
        const message = new TextEncoder().encode("a message");
        const signature = signer.sign(message);
        assert.equal(signature.length, 64);
        assert.equal(await verifySignature(message, signature, address), true);
        assert.equal(await verifySignature(new TextEncoder().encode("another"), signature, address), false);
        assert.equal(await verifySignature(message, signature, aliceAddress === address ? phraseAddress : aliceAddress), false);
      });
    }

    it("opens an encrypted hotkey with its password", async function () {
      this.timeout(180_000); // argon2i over 512 MiB: seconds, and many of them on a busy machine
      const password = () => Promise.resolve("correct horse battery staple");
      assert.equal((await openHotkey({ path: fixtures, wallet: "golden", hotkey: "encrypted", password })).address, phraseAddress);
    });

    it("refuses a wrong password, and never says it", async () => {
      const password = () => Promise.resolve("incorrect-horse");
      const quick = (text: string) => Promise.resolve(new Uint8Array(32).fill(text.length)); // the real one takes seconds, above
      const opening = openHotkey({ path: fixtures, wallet: "golden", hotkey: "encrypted", password }, quick);
      await assert.rejects(opening, refuses("wallet-password-wrong", ["incorrect-horse"]));
    });

    it("refuses an encrypted hotkey without a password before stretching anything", async () => {
      await assert.rejects(openHotkey({ path: fixtures, wallet: "golden", hotkey: "encrypted" }), refuses("wallet-password-needed"));
    });

    it("lists hotkeys and not their public halves", async () => {
      assert.deepEqual(await listHotkeys({ path: fixtures, wallet: "golden" }), ["encrypted", "plain", "seed", "uri"]);
      assert.deepEqual(await listHotkeys({ path: fixtures, wallet: "nobody" }), []);
    });
  });

  describe("older forms", () => {
    it("opens a bare phrase, a bare seed, and an address under the key with a space", async () => {
      assert.equal((await openHotkey(await keyFile("phrase", `${phrase}\n`))).address, phraseAddress);
      assert.equal((await openHotkey(await keyFile("hex", `0x${seed}`))).address, seedAddress);
      const spaced = JSON.stringify({ secretSeed: seed, " ss58Address": seedAddress });
      assert.equal((await openHotkey(await keyFile("spaced", spaced))).address, seedAddress);
    });

    it("checks the address under the key with a space, too", async () => {
      const spaced = JSON.stringify({ secretSeed: seed, " ss58Address": aliceAddress });
      await assert.rejects(openHotkey(await keyFile("spaced-wrong", spaced)), refuses("wallet-corrupt", [seed]));
    });

    it("takes a private key in polkadot.js's form as well", async () => {
      const privateKey =
        "98319d4ff8a9508c4bb0cf0b5a78d760a0b2082c02775e6e82370816fedfff48925a225d97aa00682d6a59b95b18780c10d7032336e88f3442b42361f4a66011";
      const file = await keyFile("expanded", JSON.stringify({ privateKey, ss58Address: aliceAddress }));
      assert.equal((await openHotkey(file)).address, aliceAddress);
    });

    it("names the formats it does not read", async () => {
      await assert.rejects(openHotkey(await keyFile("ansible", "$ANSIBLE_VAULT;1.1;AES256\n6162")), (error) => {
        assert.match((error as Error).message, /Ansible Vault/);
        return refuses("wallet-format-unsupported")(error);
      });
      await assert.rejects(openHotkey(await keyFile("fernet", "gAAAAABlsecret")), (error) => {
        assert.match((error as Error).message, /Fernet/);
        return refuses("wallet-format-unsupported", ["Blsecret"])(error);
      });
      const exported = JSON.stringify({ encoded: "abc", encoding: { content: ["pkcs8", "sr25519"] }, address: aliceAddress });
      await assert.rejects(openHotkey(await keyFile("exported", exported)), refuses("wallet-format-unsupported"));
      const ed25519 = JSON.stringify({ secretSeed: seed, cryptoType: 0 });
      await assert.rejects(openHotkey(await keyFile("ed25519", ed25519)), refuses("wallet-format-unsupported", [seed]));
    });
  });

  describe("damaged files", () => {
    const secret = "bottom drive obey";
    const damaged: [string, string | Uint8Array][] = [
      ["empty", ""],
      ["truncated", `{"secretPhrase":"${phrase}`],
      ["other address", JSON.stringify({ secretPhrase: phrase, ss58Address: aliceAddress })],
      ["other public key", JSON.stringify({ secretPhrase: phrase, publicKey: `0x${"22".repeat(32)}` })],
      ["misspelt phrase", JSON.stringify({ secretPhrase: phrase.replace("walk", "walks") })],
      ["no secret", JSON.stringify({ ss58Address: aliceAddress })],
      ["foreign private key", JSON.stringify({ privateKey: "01".repeat(64), ss58Address: aliceAddress })],
      ["foreign address format", JSON.stringify({ secretSeed: seed, ss58Address: "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5" })],
      ["binary", Uint8Array.of(0, 255, 1, 2)],
      ["short box", Buffer.from("$NACL0123456789")],
      ["oversize", new Uint8Array(70_000).fill(65)],
    ];
    for (const [name, content] of damaged) {
      it(`refuses: ${name}`, async () => {
        const file = await keyFile(name.replaceAll(" ", "-"), content);
        const opening = openHotkey({ ...file, password: () => Promise.resolve("x") });
        await assert.rejects(opening, refuses("wallet-corrupt", [secret, seed, "01".repeat(20)]));
      });
    }
  });

  it("names what is there when a hotkey is not", async () => {
    await assert.rejects(openHotkey({ path: fixtures, wallet: "golden", hotkey: "absent" }), (error) => {
      assert.match((error as ConnitoError).hint, /encrypted, plain, seed, uri/);
      return refuses("wallet-not-found")(error);
    });
    await assert.rejects(openHotkey({ path: fixtures, wallet: "golden", hotkey: "../coldkey" }), refuses("wallet-name-invalid"));
  });

  it("never shows the secret of a signer", async () => {
    const signer = await openHotkey({ path: fixtures, wallet: "golden", hotkey: "plain" });
    assert.deepEqual(Object.keys(signer), ["address", "publicKey", "sign"]);
    assert.doesNotMatch(inspect(signer, { depth: 9, showHidden: true }), /secret/i);
  });

  it("tells false for malformed signatures and addresses", async () => {
    const message = Uint8Array.of(1);
    assert.equal(await verifySignature(message, new Uint8Array(64), aliceAddress), false);
    assert.equal(await verifySignature(message, new Uint8Array(63), aliceAddress), false);
    assert.equal(await verifySignature(message, new Uint8Array(64).fill(255), "nobody"), false);
  });

  describe("new hotkeys", () => {
    it("writes one that opens again, readable by its owner only, and never over another", async () => {
      const made = await newHotkey({ path, wallet: "made", hotkey: "first" });
      assert.equal((await openHotkey({ path, wallet: "made", hotkey: "first" })).address, made.address);
      const file = join(path, "made", "hotkeys", "first");
      assert.equal((await stat(file)).mode & 0o777, 0o600);
      assert.equal(JSON.parse(await readFile(`${file}pub.txt`, "utf8")).ss58Address, made.address);
      assert.doesNotMatch(await readFile(`${file}pub.txt`, "utf8"), /secret|private/);
      await assert.rejects(newHotkey({ path, wallet: "made", hotkey: "first" }), refuses("wallet-exists"));
      assert.equal((await openHotkey({ path, wallet: "made", hotkey: "first" })).address, made.address);
      assert.deepEqual(await listHotkeys({ path, wallet: "made" }), ["first"]);
    });

    it("writes the same fields as the SDK for the same key", async () => {
      await newHotkey({ path, wallet: "made", hotkey: "plain", from: { phrase } });
      await newHotkey({ path, wallet: "made", hotkey: "uri", from: { uri: "//Alice" } });
      for (const hotkey of ["plain", "uri"]) {
        const [ours, theirs] = await Promise.all(
          [path.concat("/made"), join(fixtures, "golden")].map(async (wallet) =>
            JSON.parse(await readFile(join(wallet, "hotkeys", hotkey), "utf8")),
          ),
        );
        assert.deepEqual(ours, theirs);
      }
    });

    it("seals and opens a box, and only with its key", async () => {
      const key = new Uint8Array(32).fill(7);
      const text = Buffer.from(phrase);
      const box = await sealBox(text, key);
      assert.equal(Buffer.from(box.subarray(0, 5)).toString(), "$NACL");
      assert.deepEqual(Buffer.from((await openBox(boxOf(box, "box"), key)) ?? []), text);
      assert.equal(await openBox(boxOf(box, "box"), new Uint8Array(32).fill(8)), undefined);
      box[40] = (box[40] ?? 0) ^ 1;
      assert.equal(await openBox(boxOf(box, "box"), key), undefined);
      assert.notDeepEqual(await sealBox(text, key), await sealBox(text, key));
    });
  });

  it("makes development signers, and takes nothing else for one", async () => {
    assert.equal((await developmentSigner("//Alice")).address, aliceAddress);
    assert.notEqual((await developmentSigner("//Miner//3")).address, (await developmentSigner("//Miner//4")).address);
    for (const uri of ["Alice", phrase, `0x${seed}`, "//Alice/soft", "//"]) {
      await assert.rejects(developmentSigner(uri), (error) => {
        assert.equal((error as ConnitoError).code, "development-account-invalid");
        assert.ok(!(error as Error).message.includes("bottom"));
        return true;
      });
    }
  });

  it("takes the phrase before anything else in a file", async () => {
    const pair = await readKey(Buffer.from(JSON.stringify({ secretPhrase: phrase, secretSeed: "22".repeat(32) })), "file");
    assert.equal(Buffer.from(pair.publicKey).toString("hex"), "46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a");
  });
});
