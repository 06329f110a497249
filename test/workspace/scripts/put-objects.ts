/** Opens the state directory argv[2] and puts ever larger objects without end, printing the hash of each once it is kept. */
import { writeSync } from "node:fs";
import { openWorkspace } from "../../../src/workspace/workspace.ts";

const workspace = await openWorkspace(process.argv[2] as string, { lock: true });
writeSync(1, "open\n");
for (let number = 0; ; number++) {
  const hash = await workspace.objects.put(new Uint8Array(1 << 18).fill(number).map((value, index) => value ^ index ^ process.pid));
  writeSync(1, `${hash}\n`);
}
