/** Writes the README's command list from the sources; with --check, only says whether it is what they would give. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freshReadme, root } from "./command-surface.ts";

const file = join(root, "README.md");
const present = await readFile(file, "utf8");
const fresh = await freshReadme(present);
if (!process.argv.includes("--check")) await writeFile(file, fresh);
else if (present !== fresh) {
  console.error("The command list in README.md is not what the commands' sources give: run `npm run readme`.");
  process.exitCode = 1;
}
