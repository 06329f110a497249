/**
 * `node --import tsx scripts/make-metadata-fixture.ts FILE`: cuts mainnet's metadata (SCALE, gzipped or not) down to what the localnet
 * has, into the fixture of its tests.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { createRuntime } from "../src/chain/localnet/runtime/runtime.ts";
import { trim } from "../test/chain/localnet/metadata-changes.ts";

const [file = ""] = process.argv.slice(2);
const bytes = readFileSync(file);
await cryptoWaitReady();
const { pallets, apis } = createRuntime(12_000);
const trimmed = trim(
  new Uint8Array(file.endsWith(".gz") ? gunzipSync(bytes) : bytes),
  pallets.map(({ name }) => name),
  Object.keys(apis),
);
const target = join(import.meta.dirname, "../test/chain/localnet/fixture/subtensor-metadata.scale.gz");
writeFileSync(target, gzipSync(trimmed, { level: 9 }));
console.log(`${target}: ${trimmed.length} bytes, from ${bytes.length} as given`);
