/**
 * Slices the checkpoint argv[2] into the file argv[3] and prints how often it said how much is hashed. With argv[4], what it is doing then, it ends by SIGKILL
 * when half of that is done.
 */
import { sliceCheckpoint } from "../../../src/steps/slice-checkpoint.ts";
import { silentProgress } from "../../../src/ui/progress.ts";

const [directory, output, killed] = process.argv.slice(2) as [string, string, string | undefined];
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
    if (doing === killed && 2 * done >= all) process.kill(process.pid, "SIGKILL");
  },
};
await sliceCheckpoint({ progress, signal: new AbortController().signal }, { directory, groups: 2, group: 0, output });
process.stdout.write(JSON.stringify({ hashed }));
