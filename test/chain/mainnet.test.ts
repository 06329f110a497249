/**
 * Every name that this room looks up in a chain's metadata exists on mainnet, with the keys and arguments given. The metadata is data of the
 * reference and no part of the project: without it the test is skipped.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { Metadata, TypeRegistry } from "@polkadot/types";
import { advice } from "../../src/chain/refusals.ts";

const reference = process.env.CONNITO_REFERENCE ?? join(import.meta.dirname, "..", "..", "..", "shared");
const file = join(reference, "reference", "subtensor-metadata-393.scale.gz");

describe("chain/mainnet", () => {
  let registry: TypeRegistry;
  let metadata: Metadata["asLatest"];
  let stringCamelCase: (name: string) => string;

  before(async function () {
    if (!existsSync(file)) {
      console.log(`skipped: ${file} is absent`);
      return this.skip();
    }
    const types = await import("@polkadot/types");
    ({ stringCamelCase } = await import("@polkadot/util"));
    registry = new types.TypeRegistry();
    const whole = new types.Metadata(registry, gunzipSync(readFileSync(file)));
    registry.setMetadata(whole, undefined, undefined, true);
    metadata = whole.asLatest;
  });

  function pallet(name: string): Metadata["asLatest"]["pallets"][number] {
    const found = metadata.pallets.find((candidate) => stringCamelCase(candidate.name.toString()) === name);
    assert.ok(found, `mainnet has no pallet ${name}`);
    return found;
  }

  it("has the storage that is read, under as many keys", () => {
    const storage: Record<string, Record<string, number>> = {
      system: { account: 1, events: 0 },
      commitments: { commitmentOf: 2 },
      subtensorModule: {
        networksAdded: 1,
        tempo: 1,
        weightsSetRateLimit: 1,
        minAllowedWeights: 1,
        weightsVersionKey: 1,
        commitRevealWeightsEnabled: 1,
        revealPeriodEpochs: 1,
        subnetOwnerHotkey: 1,
        subnetworkN: 1,
        validatorPermit: 1,
        lastUpdate: 1,
        uids: 2,
        weights: 2,
        blockAtRegistration: 2,
      },
    };
    for (const [name, items] of Object.entries(storage)) {
      for (const [item, keys] of Object.entries(items)) {
        const entry = pallet(name)
          .storage.unwrap()
          .items.find((candidate) => stringCamelCase(candidate.name.toString()) === item);
        assert.ok(entry, `${name}.${item}`);
        assert.equal(entry.type.isPlain ? 0 : entry.type.asMap.hashers.length, keys, `${name}.${item}`);
      }
    }
  });

  it("has the calls that are made, with as many arguments", () => {
    const calls: Record<string, Record<string, number>> = {
      commitments: { setCommitment: 2 },
      subtensorModule: { setWeights: 4, burnedRegister: 2, addStake: 3 },
      balances: { transferKeepAlive: 2 },
    };
    for (const [name, methods] of Object.entries(calls)) {
      const variants = registry.lookup.getSiType(pallet(name).calls.unwrap().type).def.asVariant.variants;
      for (const [method, count] of Object.entries(methods)) {
        assert.equal(
          variants.find((variant) => stringCamelCase(variant.name.toString()) === method)?.fields.length,
          count,
          `${name}.${method}`,
        );
      }
    }
  });

  it("has the events that are looked for, and the runtime API", () => {
    for (const [name, events] of Object.entries({
      system: ["ExtrinsicSuccess", "ExtrinsicFailed"],
      commitments: ["Commitment"],
      subtensorModule: ["WeightsSet"],
    })) {
      const variants = registry.lookup.getSiType(pallet(name).events.unwrap().type).def.asVariant.variants;
      for (const event of events)
        assert.ok(
          variants.some((variant) => variant.name.eq(event)),
          `${name}.${event}`,
        );
    }
    const api = metadata.apis.find((candidate) => candidate.name.eq("NeuronInfoRuntimeApi"));
    assert.equal(api?.methods.find((method) => method.name.eq("get_neurons_lite"))?.inputs.length, 1);
  });

  it("has every error that is explained", () => {
    for (const reason of Object.keys(advice)) {
      const [name, error] = reason.split(".") as [string, string];
      const variants = registry.lookup.getSiType(pallet(name).errors.unwrap().type).def.asVariant.variants;
      assert.ok(
        variants.some((variant) => variant.name.eq(error)),
        reason,
      );
    }
  });
});
