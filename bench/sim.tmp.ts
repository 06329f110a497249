import { rm } from "node:fs/promises";
import { simulate } from "../src/simulate/simulate.ts";
import { honest, minerAttacks } from "../src/simulate/strategies/miners.ts";
import { honestValidator } from "../src/simulate/strategies/validators.ts";
import { createProgress } from "../src/ui/progress.ts";

const directory = "/tmp/connito/sim1";
await rm(directory + "/players", { recursive: true, force: true });
const attack = minerAttacks.find((one) => one.name === (process.argv[2] ?? ""));
const t = performance.now();
const out = await simulate({
  directory,
  seed: process.argv[4] ?? "1",
  cycles: Number(process.argv[3] ?? 2),
  threads: 1,
  progress: createProgress({ kind: "plain" }),
  signal: new AbortController().signal,
  cast: [
    { name: "validator-1", strategy: honestValidator, stake: 600 },
    { name: "validator-2", strategy: honestValidator, stake: 500 },
    { name: "validator-3", strategy: honestValidator, stake: 400 },
    ...[1, 2, 3, 4].map((n) => ({ name: `miner-${n}`, strategy: honest })),
    ...(attack
      ? [{ name: attack.name, strategy: attack, leaks: ["miner-1", "miner-2", "miner-3", "miner-4"].slice(0, attack.leaks ?? 0) }]
      : []),
  ],
});
for (const p of out.players) console.log(p.name.padEnd(14), p.share.toFixed(3), p.statuses.join(" "), p.scores.join(" "));
console.log(out.losses, out.agreed, out.moved, ((performance.now() - t) / 1000).toFixed(1), "s");
