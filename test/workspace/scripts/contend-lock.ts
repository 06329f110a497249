/**
 * Takes and gives back the lock argv[2] argv[4] times, each time proving that nobody else is inside: it writes its own mark into
 * argv[3] and must find it there a little later. Prints "intruder" if not. Ends by SIGKILL while holding the lock.
 */
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnitoError } from "../../../src/errors.ts";
import { acquireLock } from "../../../src/workspace/lock.ts";

const [lock, mark, rounds] = process.argv.slice(2) as [string, string, string];
for (let round = 1; ; ) {
  try {
    const held = await acquireLock(lock);
    const own = `${process.pid}.${round}`;
    await writeFile(mark, own);
    await sleep(1);
    if ((await readFile(mark, "utf8")) !== own) console.log("intruder");
    if (round++ === Number(rounds)) {
      console.log("done");
      await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
      process.kill(process.pid, "SIGKILL");
    }
    await held.release();
  } catch (error) {
    if (!(error instanceof ConnitoError && error.code === "state-locked")) throw error;
  }
  await sleep(Math.random() * 2);
}
