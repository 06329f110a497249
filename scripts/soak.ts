/** `npm run soak [-- CYCLES [SEED]]`: the soak of test/chain/soak.ts, 200 cycles unless said. Prints what happened; fails where journal and chain disagree. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { soak } from "../test/chain/soak.ts";

const [cycles = "200", seed = "1"] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), "connito-soak-"));
try {
  console.log(JSON.stringify(await soak(directory, Number(cycles), Number(seed))));
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exit();
