/** A thread that hashes memory, nothing else: the limit of what a core can do. */
import { createHash } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";

const buffer = new Uint8Array(1 << 20).fill(7);
const hash = createHash("sha256");
for (let done = 0; done < workerData.bytes; done += buffer.length) hash.update(buffer);
parentPort.postMessage(hash.digest("hex"));
