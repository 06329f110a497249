/** The import arrows of docs/architecture.md, as .dependency-cruiser.cjs states them. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const program = join(root, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");

function violations(directory: string): string[] {
  const args = [program, "--config", join(root, ".dependency-cruiser.cjs"), "--output-type", "json", "src"];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: directory, encoding: "utf8", maxBuffer: 2 ** 28 });
  assert.ok(stdout.startsWith("{"), stderr);
  const found: { rule: { name: string }; from: string; to: string }[] = JSON.parse(stdout).summary.violations;
  return found.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
}

/** Arrows that must not be, each with the rule that forbids it. */
const forbidden: readonly (readonly [rule: string, file: string, text: string])[] = [
  ["protocol-imports", "src/protocol/a.ts", 'import "../ui/leaf.ts";'],
  ["protocol-is-pure", "src/protocol/b.ts", 'import "node:fs";'],
  ["model-imports", "src/model/a.ts", 'import "../chain/leaf.ts";'],
  ["exchange-imports", "src/exchange/a.ts", 'import "../workspace/leaf.ts";'],
  ["engine-imports", "src/engine/a.ts", 'import type { Leaf } from "../data/leaf.ts"; export type { Leaf };'],
  ["steps-imports", "src/steps/a.ts", 'import "../cycle/leaf.ts";'],
  ["cycle-imports", "src/cycle/a.ts", 'import "../commands/leaf.ts";'],
  ["cli-imports", "src/cli/a.ts", 'import "../commands/leaf.ts";'],
  ["errors-import-nothing", "src/errors.ts", 'import "./ui/leaf.ts";'],
  ["no-cycles", "src/steps/b.ts", 'import "./leaf.ts";'],
  ["no-missing", "src/steps/d.ts", 'import "./nowhere.ts";'],
];

describe("architecture", () => {
  it("has no arrow that does not exist, no cycle, and one door to each heavy package", () => {
    assert.deepEqual(violations(root), []);
  });

  it("would notice each kind of arrow that must not be", async () => {
    const directory = await mkdtemp(join(tmpdir(), "connito-arrows-"));
    try {
      const leaves = ["ui", "chain", "workspace", "data", "cycle", "commands"].map(
        (room) => [`src/${room}/leaf.ts`, "export type Leaf = 1;"] as const,
      );
      for (const [file, text] of [...leaves, ...forbidden.map(([, file, text]) => [file, text] as const)]) {
        await mkdir(dirname(join(directory, file)), { recursive: true });
        await writeFile(join(directory, file), text);
      }
      await writeFile(join(directory, "src/steps/leaf.ts"), 'import "./b.ts";');
      await writeFile(join(directory, "tsconfig.json"), "{}");
      const found = violations(directory);
      for (const [rule, file] of forbidden) {
        assert.ok(
          found.some((violation) => violation.startsWith(`${rule}: ${file} `)),
          `${rule} in ${file} among:\n${found.join("\n")}`,
        );
      }
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
