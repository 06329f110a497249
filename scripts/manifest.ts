/** Writes oclif.manifest.json from the sources; with --check, only says whether it is what they would give. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { manifestText, root } from "./command-surface.ts";

const file = join(root, "oclif.manifest.json");
const fresh = await manifestText();
if (!process.argv.includes("--check")) await writeFile(file, fresh);
else if ((await readFile(file, "utf8").catch(() => "")) !== fresh) {
  console.error("oclif.manifest.json is not what the commands' sources give: run `npm run manifest`.");
  process.exitCode = 1;
}
