/** What `doctor` looks at of the records that a role will write: whether its locator fits them, and whether they fit the chain's epochs. */
import type { Chain } from "../../chain/client.ts";
import { ConnitoError } from "../../errors.ts";
import { checkLocator, type LocatorKind } from "../../protocol/records.ts";
import type { Task } from "../../protocol/task.ts";
import { spaceNeeded } from "../record-space.ts";
import { type Finding, failedBy, ok, warning } from "./finding.ts";
import type { Standing } from "./network.ts";

/** The record of each role in which a locator has the least room. */
const carriedBy: Readonly<Record<NonNullable<Standing["role"]>, LocatorKind>> = { miner: "reveal", validator: "version", owner: "task" };

/** Where others are to fetch from. */
export function checkPublish(locator: string | undefined, role: Standing["role"] = "miner"): Finding {
  if (locator === undefined) {
    const advice = "Give --publish http://HOST:PORT, which `cycle run` serves, or file:/DIRECTORY for one that others can read.";
    return warning("publish", "nobody is told where to fetch what is made here", advice);
  }
  try {
    checkLocator(locator, carriedBy[role]);
    return ok("publish", locator);
  } catch (error) {
    if (!(error instanceof ConnitoError)) throw error;
    return failedBy("publish", "invalidInput", error);
  }
}

/** Whether a cycle's records fit, cycle after cycle. */
export async function checkRecords(
  chain: Chain,
  task: Pick<Task, "cycle">,
  { netuid, hotkey, role, locator }: Standing & { readonly locator: string | undefined },
): Promise<readonly Finding[]> {
  if (role !== "miner" && role !== "validator") return [];
  const { hash } = await chain.finalizedHead();
  const [{ tempo }, { limit }] = await Promise.all([chain.hyperparameters(netuid, hash), chain.space(netuid, hotkey, hash)]);
  const { records, bytes } = spaceNeeded(task, { role, locator, tempo });
  const found = `${records} a cycle: up to ${bytes} of ${limit} bytes in an epoch of ${tempo + 1} blocks`;
  if (bytes <= limit) return [ok("records", found)];
  const advice =
    "Records that find no room wait for the next epoch and may miss their window: use a shorter --publish, such as an IP address.";
  return [warning("records", found, advice)];
}
