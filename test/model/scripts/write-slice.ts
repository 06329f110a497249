/** Writes the slice of the example's group 0 into the file argv[2], its base beside it. With argv[3] it ends by SIGKILL when half of the bytes are written. */
import { mkdtemp } from "node:fs/promises";
import { dirname, join } from "node:path";
import { planSlice, writeSliceFile } from "../../../src/model/slice.ts";
import { makeExample } from "../example.ts";

const [file, killed] = process.argv.slice(2) as [string, string | undefined];
const { manifest, standIns, manager, locate } = await makeExample(await mkdtemp(join(dirname(file), "example-")));
await writeSliceFile(planSlice({ manifest, standIns, manager, group: 0 }), file, {
  locate,
  onProgress(done, total) {
    if (killed !== undefined && 2 * done >= total) process.kill(process.pid, "SIGKILL");
  },
});
