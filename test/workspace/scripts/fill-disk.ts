/**
 * On a tiny file system mounted at argv[2]: works until the disk is full, prints the code of the error, makes space, does the same
 * again, and prints what came of it.
 */
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnitoError } from "../../../src/errors.ts";
import { openWorkspace } from "../../../src/workspace/workspace.ts";

const mount = process.argv[2] as string;
const ballast = join(mount, "ballast");
const workspace = await openWorkspace(join(mount, "state"), { lock: true });
await workspace.journal.intent("before", {});
await writeFile(ballast, new Uint8Array(200_000));

async function attempt(name: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
    console.log(`${name} done`);
  } catch (error) {
    console.log(`${name} ${error instanceof ConnitoError ? `${error.code} ${error.retryable}` : error}`);
  }
}

const object = new Uint8Array(150_000).fill(7);
const long = { text: "x".repeat(150_000) };
await attempt("put", () => workspace.objects.put(object));
await attempt("journal", () => workspace.journal.intent("during", long));
const left = await readdir(join(mount, "state", "objects"), { recursive: true });
console.log(`left ${left.filter((name) => name.length > 2).length}`);
await rm(ballast);
await attempt("put", () => workspace.objects.put(object));
await attempt("journal", () => workspace.journal.intent("after", {}));
await workspace.close();
const again = await openWorkspace(join(mount, "state"), { lock: false });
console.log(
  again.journal
    .entries()
    .map((entry) => entry.key)
    .join(" "),
);
