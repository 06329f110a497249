/** Threads, started from the same lines whether the program runs as it was built or from its sources. */
import { type ResourceLimits, Worker } from "node:worker_threads";

/** How a thread reads TypeScript, in a clone of the repository. */
const sourceReader = new URL("../scripts/typescript.mjs", import.meta.url);

/**
 * Starts the module `name` (without its ending) that lies beside the caller's own, whose address is `from`: `import.meta.url`. `data` is
 * its `workerData`.
 */
export function startThread(name: string, from: string, data: unknown, resourceLimits: ResourceLimits = {}): Worker {
  // A process that runs the sources has to tell each of its threads how to read them.
  return from.endsWith(".ts")
    ? new Worker(new URL(`./${name}.ts`, from), { workerData: data, resourceLimits, execArgv: ["--import", sourceReader.href] })
    : new Worker(new URL(`./${name}.js`, from), { workerData: data, resourceLimits });
}
