/**
 * Test files run side by side, one a core, and two at least: many of them wait for processes and blocks most of the time. Those that take longest begin first,
 * so that none of them is left over at the end.
 */

const { readdirSync } = require("node:fs");
const { availableParallelism } = require("node:os");
const { join } = require("node:path");

const longest = ["examples", "commands/faults", "simulate/simulate", "simulate/validators", "commands/refusals", "cli/base-command"];

const files = readdirSync(join(__dirname, "test"), { recursive: true }).filter((name) => name.endsWith(".test.ts"));
const rank = (file) => (longest.includes(file.slice(0, -".test.ts".length)) ? 0 : 1);

module.exports = {
  extension: ["ts"],
  spec: files.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)).map((file) => `test/${file}`),
  "node-option": ["import=tsx"],
  timeout: 60_000,
  parallel: true,
  jobs: Math.max(2, availableParallelism()),
  exit: true,
};
