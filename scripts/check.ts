/**
 * All the gates that are not tests, one after the other, each with its verdict; ends with how many held. Fails when one did not. With
 * `--totals FILE` the numbers are written there as JSON too.
 */

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));

const gates: readonly (readonly [name: string, script: string, ...rest: string[]])[] = [
  ["types", "typecheck"],
  ["lint", "lint"],
  ["import arrows", "arch"],
  ["fresh oclif.manifest.json", "manifest", "--check"],
  ["fresh command list in the README", "readme", "--check"],
  ["nothing unused", "unused"],
];

const { totals } = parseArgs({ options: { totals: { type: "string" } } }).values;
let failed = 0;
for (const [name, script, ...rest] of gates) {
  const { status, stdout, stderr } = spawnSync("npm", ["run", "--silent", script, "--", ...rest], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    shell: process.platform === "win32",
  });
  if (status !== 0) {
    failed += 1;
    console.log(`${stdout}${stderr}`);
  }
  console.log(`${status === 0 ? "ok    " : "FAILED"} ${name}`);
}
console.log(`gates: ${gates.length - failed} passed, ${failed} failed`);
if (totals !== undefined) writeFileSync(totals, JSON.stringify({ passed: gates.length - failed, failed }));
process.exitCode = failed === 0 ? 0 : 1;
