/** A thread that hashes so many bytes of memory, or the files that it is given: the limit of what a core can do. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

const { bytes = 0, files = [] } = workerData;
const buffer = new Uint8Array(1 << 20).fill(7);
const hash = createHash("sha256");
for (let done = 0; done < bytes; done += buffer.length) hash.update(buffer);
for (const file of files) {
  const descriptor = openSync(file, "r");
  for (let read = readSync(descriptor, buffer); read > 0; read = readSync(descriptor, buffer)) hash.update(buffer.subarray(0, read));
  closeSync(descriptor);
}
parentPort.postMessage(hash.digest("hex"));
