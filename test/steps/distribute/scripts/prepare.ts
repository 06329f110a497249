/**
 * Prepares the text file argv[2] in the state directory argv[3], in small shards, and says in one line of JSON what came of it and how many shards it made.
 * Ends by SIGKILL when it has made argv[4] of them, before the last of those is noted.
 */
import { parseSource } from "../../../../src/data/sources/source.ts";
import { byteTokenizer } from "../../../../src/model/byte-tokenizer.ts";
import { prepareData } from "../../../../src/steps/distribute/prepare-data.ts";
import { silentProgress } from "../../../../src/ui/progress.ts";
import { openWorkspace } from "../../../../src/workspace/workspace.ts";

const [text, state, killAfter] = process.argv.slice(2) as [string, string, string | undefined];
const workspace = await openWorkspace(state, { lock: true });
let made = 0;
const prepared = await prepareData(
  { workspace, progress: silentProgress, signal: new AbortController().signal, threads: 1 },
  {
    domains: [{ name: "numbers", train: [], heldOut: [], split: [parseSource(text)] }],
    heldOutShare: 0.2,
    tokenizer: Buffer.from(JSON.stringify(byteTokenizer())),
    sequenceLength: 15,
    shardBytes: 100_000,
    async store(bytes) {
      const hash = await workspace.objects.put(bytes);
      made += 1;
      if (made === Number(killAfter)) process.kill(process.pid, "SIGKILL");
      return hash;
    },
    onHeldOut: () => undefined,
  },
);
await workspace.close();
process.stdout.write(JSON.stringify({ prepared, made }));
