/**
 * `npm run conformance`: all tests of the chain's client, once for each metadata that its localnets can serve: mainnet's, mainnet's with other
 * indices, and the localnet's own with other indices. (The suite itself runs them with the localnet's own.)
 */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import { createRuntime } from "../src/chain/localnet/runtime/runtime.ts";
import { shuffleIndices } from "../test/chain/localnet/metadata-changes.ts";

const seed = Number(process.argv[2] ?? 1);
const tests = join(import.meta.dirname, "../test/chain");
await cryptoWaitReady();
const mainnet = new Uint8Array(gunzipSync(readFileSync(join(tests, "localnet/fixture/subtensor-metadata.scale.gz"))));
const own = new Uint8Array(Buffer.from((createRuntime(100).metadata.encoded(15) as string).slice(2), "hex"));
const directory = mkdtempSync(join(tmpdir(), "connito-conformance-"));
const files = readdirSync(tests)
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => join(tests, name));
let failed = 0;
try {
  for (const [name, bytes] of [
    ["mainnet", mainnet],
    ["mainnet, other indices", shuffleIndices(mainnet, seed)],
    ["localnet, other indices", shuffleIndices(own, seed)],
  ] as const) {
    const file = join(directory, "metadata.scale");
    writeFileSync(file, bytes);
    // Without the configuration file: mocha would add its whole suite to the files that are named.
    const mocha = ["node_modules/mocha/bin/mocha.js", "--no-config", "--timeout", "60000", "--exit", "--reporter", "dot"];
    const { status } = spawnSync(process.execPath, ["--import", "tsx", ...mocha, ...files], {
      cwd: join(import.meta.dirname, ".."),
      env: { ...process.env, CONNITO_TEST_METADATA: file },
      stdio: "inherit",
    });
    console.log(`${status === 0 ? "ok    " : "FAILED"} ${name} (seed ${seed})`);
    failed += status === 0 ? 0 : 1;
  }
} finally {
  rmSync(directory, { recursive: true });
}
process.exitCode = failed === 0 ? 0 : 1;
