/**
 * What the client says to mainnet and reads from it, by mainnet's own metadata: every name that it looks up exists there, and what it encodes is what
 * polkadot.js encodes, which shares no code with it. The metadata is data of the reference and no part of the project: without it this is skipped.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expandMetadata, Metadata, TypeRegistry } from "@polkadot/types";
import { hexToU8a, u8aToHex } from "@polkadot/util";
import { commitmentCall } from "../../src/chain/commitments.ts";
import { type Call, type Codecs, codecsOf } from "../../src/chain/metadata.ts";
import { advice } from "../../src/chain/refusals.ts";
import { developmentSigner, type Signer } from "../../src/chain/signer.ts";
import { pendingOf, signTransaction } from "../../src/chain/signing.ts";
import { referencePath } from "./localnet/reference.ts";

describe("chain/mainnet", () => {
  let codecs: Codecs;
  let registry: TypeRegistry;
  let expanded: ReturnType<typeof expandMetadata>;
  let signer: Signer;

  before(async function () {
    if (referencePath === undefined) {
      console.log("skipped: mainnet's metadata is not at hand");
      return this.skip();
    }
    const bytes = new Uint8Array(gunzipSync(readFileSync(referencePath)));
    codecs = await codecsOf(bytes);
    registry = new TypeRegistry();
    const metadata = new Metadata(registry, bytes);
    registry.setMetadata(metadata, undefined, undefined, true);
    expanded = expandMetadata(registry, metadata);
    signer = await developmentSigner("//Alice");
  });

  const netuid = 300;

  function calls(): [Call, readonly [section: string, method: string, ...args: unknown[]]][] {
    const record = Uint8Array.from({ length: 128 }, (_, index) => index);
    const lengths = [0, 1, 2, 127, 128].map((length): ReturnType<typeof calls>[number] => {
      const bytes = record.subarray(0, length);
      return [commitmentCall(netuid, bytes), ["commitments", "setCommitment", netuid, { fields: [{ [`Raw${length}`]: u8aToHex(bytes) }] }]];
    });
    const [uids, values, salt] = [
      [3, 9],
      [65_535, 7],
      [1, 2, 3],
    ];
    const hash = `0x${"5a".repeat(32)}`;
    const to = (name: string, args: Call["args"]): Call => ({ pallet: "SubtensorModule", name, args });
    return [
      ...lengths,
      [
        to("set_weights", { netuid, dests: uids, weights: values, version_key: 2n ** 60n }),
        ["subtensorModule", "setWeights", netuid, uids, values, 2n ** 60n],
      ],
      [to("commit_weights", { netuid, commit_hash: hash }), ["subtensorModule", "commitWeights", netuid, hash]],
      [
        to("reveal_weights", { netuid, uids, values, salt, version_key: 4n }),
        ["subtensorModule", "revealWeights", netuid, uids, values, salt, 4n],
      ],
      [to("burned_register", { netuid, hotkey: signer.address }), ["subtensorModule", "burnedRegister", netuid, signer.address]],
      [
        to("add_stake", { hotkey: signer.address, netuid, amount_staked: 10n ** 18n }),
        ["subtensorModule", "addStake", signer.address, netuid, 10n ** 18n],
      ],
      [
        { pallet: "Balances", name: "transfer_keep_alive", args: { dest: { type: "Id", value: signer.address }, value: 5n } },
        ["balances", "transferKeepAlive", signer.address, 5n],
      ],
    ];
  }

  it("writes every call as polkadot.js does", () => {
    for (const [call, [section, method, ...args]] of calls()) {
      assert.equal(u8aToHex(codecs.encodeCall(call)), expanded.tx[section]?.[method]?.(...args).toHex(), `${section}.${method}`);
    }
  });

  it("signs what polkadot.js would sign, and reads its own transactions back", async () => {
    const anchor = { number: 1_234_567, hash: `0x${"11".repeat(32)}` };
    const genesisHash = `0x${"22".repeat(32)}`;
    for (const [call, [section, method, ...args]] of calls()) {
      let payload: Uint8Array | undefined;
      const sign = (message: Uint8Array): Uint8Array => {
        payload = message;
        return signer.sign(message);
      };
      const runtime = { specVersion: 393, transactionVersion: 1, codecs };
      const context = { genesisHash, nonce: 16_500, anchor, lifetime: 60 };
      const signed = await signTransaction(runtime, call, { ...signer, sign }, context);
      const theirs = registry.createType(
        "ExtrinsicPayload",
        {
          method: expanded.tx[section]?.[method]?.(...args).toHex(),
          era: registry.createType("ExtrinsicEra", { current: anchor.number, period: 64 }),
          nonce: 16_500,
          tip: 0,
          mode: 0,
          blockHash: anchor.hash,
          genesisHash,
          specVersion: 393,
          transactionVersion: 1,
        },
        { version: 4 },
      );
      const expected = theirs.toU8a({ method: true });
      assert.equal(u8aToHex(payload), u8aToHex(expected.length > 256 ? registry.hash(expected) : expected), `${section}.${method}`);
      const parsed = registry.createType("Extrinsic", hexToU8a(signed.hex));
      assert.deepEqual([parsed.signer.toString(), parsed.nonce.toNumber(), parsed.method.method], [signer.address, 16_500, method]);
      const [pending] = pendingOf(codecs, signer.address, ["0x00", signed.hex], anchor.number + 9);
      assert.deepEqual(pending, { ...signed, call: Uint8Array.from(codecs.encodeCall(call)) });
      assert.equal(signed.lastBlock, parsed.era.asMortalEra.death(anchor.number + 9) - 1);
    }
  });

  it("reads storage by the keys that polkadot.js makes", () => {
    const { address } = signer;
    const names: readonly (readonly [pallet: string, item: string, entry: string, ...keys: unknown[]])[] = [
      ["System", "Account", "system.account", address],
      ["System", "Events", "system.events"],
      ["Commitments", "CommitmentOf", "commitments.commitmentOf", netuid, address],
      ["Commitments", "UsedSpaceOf", "commitments.usedSpaceOf", netuid, address],
      ["Commitments", "MaxSpace", "commitments.maxSpace"],
      ["SubtensorModule", "Uids", "subtensorModule.uids", netuid, address],
      ["SubtensorModule", "SubnetworkN", "subtensorModule.subnetworkN", netuid],
      ["SubtensorModule", "ValidatorPermit", "subtensorModule.validatorPermit", netuid],
      ["SubtensorModule", "LastUpdate", "subtensorModule.lastUpdate", netuid],
      ["SubtensorModule", "Weights", "subtensorModule.weights", netuid, 3],
      ["SubtensorModule", "WeightCommits", "subtensorModule.weightCommits", netuid, address],
      ["SubtensorModule", "StakeThreshold", "subtensorModule.stakeThreshold"],
    ];
    for (const [pallet, item, entry, ...keys] of names) {
      const [section = "", method = ""] = entry.split(".");
      const theirs = expanded.query[section]?.[method];
      assert.ok(theirs, entry);
      const codec = codecs.storage(pallet, item);
      // polkadot.js puts the key's length in front
      assert.ok(u8aToHex(theirs(...keys)).endsWith(codec.key(...keys).slice(2)), entry);
      codec.decode(undefined);
    }
  });

  it("has the runtime API and the constants that are read, and every error that is explained", () => {
    assert.equal(codecs.runtimeApi("SubnetInfoRuntimeApi", "get_metagraph").name, "SubnetInfoRuntimeApi_get_metagraph");
    assert.equal(codecs.constant("Commitments", "MaxFields"), 3);
    for (const reason of Object.keys(advice)) {
      const [pallet = "", error = ""] = reason.split(".");
      assert.ok(codecs.hasError(pallet, error), reason);
    }
  });

  it("says what a chain lacks, and refuses bytes that are not what they should be", async () => {
    assert.throws(() => codecs.storage("Commitments", "Nothing"), { code: "chain-unsupported" });
    assert.throws(() => codecs.runtimeApi("NoApi", "none"), { code: "chain-unsupported" });
    const renamed = { pallet: "SubtensorModule", name: "set_weights", args: { netuid, uids: [], weights: [], version_key: 0n } };
    assert.throws(() => codecs.encodeCall(renamed), { code: "chain-unsupported", message: /it wants netuid, dests, weights, version_key/ });
    assert.throws(() => codecs.storage("System", "Events").decode(Uint8Array.of(9, 9, 9)), { code: "chain-undecodable" });
    await assert.rejects(codecsOf(Uint8Array.of(1, 2, 3)), { code: "chain-undecodable" });
  });
});
