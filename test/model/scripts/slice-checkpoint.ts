/**
 * Slices the checkpoint argv[2] into the file argv[3] and prints how often it said how much is hashed. With argv[4], what it is doing then, it ends by SIGKILL
 * when half of that is done; or with argv[5] says so and is stopped by that signal.
 */
import { writeSync } from "node:fs";
import { sliceCheckpoint } from "../../../src/steps/slice-checkpoint.ts";
import { silentProgress } from "../../../src/ui/progress.ts";

const [directory, output, killed, signal = "SIGKILL"] = process.argv.slice(2) as [string, string, string?, NodeJS.Signals?];
let doing = "";
let all = 0;
let hashed = 0;
const progress = {
  ...silentProgress,
  start(label: string, total = 0) {
    [doing, all] = [label, total];
  },
  update(done: number) {
    if (doing === "hashing pieces") hashed += 1;
    if (doing !== killed || 2 * done < all) return;
    writeSync(2, "half");
    process.kill(process.pid, signal);
  },
};
await sliceCheckpoint({ progress, signal: new AbortController().signal }, { directory, groups: 2, group: 0, output });
process.stdout.write(JSON.stringify({ hashed }));
