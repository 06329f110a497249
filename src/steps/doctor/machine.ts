/** What `doctor` looks at on this machine: Node, memory, the disk under the state directory, the compute engine, GPUs. */
import { execFile } from "node:child_process";
import { statfs } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { formatBytes } from "../../ui/format.ts";
import { type Finding, failed, failedBy, ok, unknown, warning } from "./finding.ts";

/** The oldest Node that the package runs on (package.json, engines). */
const oldestNode = [20, 19] as const;
const gibibyte = 2 ** 30;
/** Below the first a cycle can fail, below the second a night can. */
const scarceDisk = 2 * gibibyte;
const comfortableDisk = 20 * gibibyte;
const comfortableMemory = 4 * gibibyte;

export function checkNode(version: string = process.versions.node): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [oldestMajor, oldestMinor] = oldestNode;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return ok("node", version);
  return failed("node", "unexpected", `${version} is too old`, `Install Node ${oldestNode.join(".")} or later.`);
}

export function checkMemory(bytes: number = totalmem(), cores: number = availableParallelism()): Finding {
  const found = `${formatBytes(bytes)}, ${cores} ${cores === 1 ? "core" : "cores"}`;
  if (bytes >= comfortableMemory) return ok("memory", found);
  return warning("memory", found, "Small models only: a step that runs out of memory ends the process, and the next run goes on.");
}

/** The free bytes where a directory is, or will be made. */
async function freeBytes(directory: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || dirname(directory) === directory) throw error;
    return freeBytes(dirname(directory));
  }
}

export async function checkDisk(directory: string, free = freeBytes): Promise<Finding> {
  try {
    const bytes = await free(directory);
    const found = `${formatBytes(bytes)} free at ${directory}`;
    const advice = "Free some space, or put the state on another volume with --state-dir. Versions of the model are kept side by side.";
    if (bytes < scarceDisk) return failed("disk", "storage", found, advice);
    return bytes < comfortableDisk ? warning("disk", found, advice) : ok("disk", found);
  } catch (error) {
    return failedBy("disk", "storage", error);
  }
}

/** Loads the compute engine, which fails where its native library does not fit this machine. */
export async function checkEngine(): Promise<Finding> {
  try {
    const { loadLibrary } = await import("../../engine/runtime/library.ts");
    const { version } = await loadLibrary();
    return ok("engine", `ONNX Runtime ${version} loads`);
  } catch (error) {
    return failedBy("engine", "unexpected", error);
  }
}

/** NVIDIA's own tool knows best what there is and whether its driver works. */
export async function checkGpu(tool = "nvidia-smi"): Promise<Finding> {
  try {
    const query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    const { stdout } = await promisify(execFile)(tool, query, { timeout: 10_000 });
    const cards = stdout.trim().split("\n").filter(Boolean);
    return cards.length > 0 ? ok("gpu", cards.join("; ")) : unknown("gpu", "none; the CPU computes");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return unknown("gpu", "no NVIDIA driver; the CPU computes");
    return warning("gpu", `${tool} fails: ${message.split("\n")[0]}`, "The driver does not answer: reboot, or install it again.");
  }
}
