/**
 * Looks at everything that a night of work needs and says what to do about what is missing: the machine, the hotkey, the endpoints, how the hotkey
 * stands on the subnet, the task and its data. It changes nothing, and one failure does not hide the next.
 */
import type { Chain } from "../../chain/client.ts";
import { resolveNetwork } from "../../chain/networks.ts";
import type { Signer } from "../../chain/signer.ts";
import { ConnitoError, exitCodes } from "../../errors.ts";
import type { Task } from "../../protocol/task.ts";
import { checkData, type DataPlaces } from "./data.ts";
import { type Finding, failed, failedBy, ok, unknown, warning } from "./finding.ts";
import { checkDisk, checkEngine, checkGpu, checkMemory, checkNode } from "./machine.ts";
import { checkClock, checkEndpoints, checkStanding, type Standing } from "./network.ts";
import { checkPublish, checkRecords } from "./records.ts";

export type { Finding } from "./finding.ts";

export interface DoctorInput {
  readonly stateDirectory: string;
  readonly network: string;
  readonly netuid: number | undefined;
  readonly role: Standing["role"];
  /** Opens the hotkey; may ask for its password. */
  readonly openHotkey: () => Promise<Signer>;
  /** What can be had of the subnet's task, given a chain and a hotkey: its hash where one is published, the task where somebody delivers it. */
  readonly findTask: (
    chain: Chain,
    signer: Signer,
  ) => Promise<{ readonly taskHash?: string; readonly task?: Task; readonly data?: DataPlaces }>;
  /** Where others are to fetch what is made here. */
  readonly publish?: string | undefined;
  readonly onFinding: (finding: Finding, count: number) => void;
  /** Milliseconds within which an endpoint must answer. Default 10,000. */
  readonly patience?: number;
  readonly signal: AbortSignal;
}

export interface DoctorResult {
  readonly findings: readonly Finding[];
  /** The exit code of the worst failure, 0 where nothing failed. */
  readonly exit: number;
}

export async function diagnose(input: DoctorInput): Promise<DoctorResult> {
  const findings: Finding[] = [];
  const note = (...found: readonly Finding[]): void => {
    for (const finding of found) {
      findings.push(finding);
      input.onFinding(finding, findings.length);
    }
  };
  note(checkNode(), checkMemory(), await checkDisk(input.stateDirectory), await checkEngine(), await checkGpu());
  const signer = await checkHotkey(input, note);
  note(checkPublish(input.publish, input.role));
  const chain = await checkNetwork(input, note);
  try {
    await checkSubnet(input, note, chain, signer);
  } finally {
    chain?.disconnect();
  }
  return { findings, exit: exitOf(findings) };
}

type Note = (...found: readonly Finding[]) => void;

async function checkHotkey({ openHotkey, signal }: DoctorInput, note: Note): Promise<Signer | undefined> {
  try {
    const signer = await openHotkey();
    note(ok("hotkey", signer.address));
    return signer;
  } catch (error) {
    signal.throwIfAborted();
    note(failedBy("hotkey", "key", error));
    return undefined;
  }
}

async function checkNetwork({ network, patience = 10_000, signal }: DoctorInput, note: Note): Promise<Chain | undefined> {
  let endpoints: readonly string[];
  try {
    endpoints = resolveNetwork(network);
  } catch (error) {
    note(failedBy("network", "usage", error));
    return undefined;
  }
  const { findings, chain } = await checkEndpoints(endpoints, patience, signal);
  note(...findings);
  if (chain === undefined) note(unknown("clock", "no endpoint answers"));
  else note(await checkClock(chain).catch((error) => failedBy("clock", "network", error)));
  return chain;
}

async function checkSubnet(
  { netuid, role, findTask, publish, signal }: DoctorInput,
  note: Note,
  chain: Chain | undefined,
  signer: Signer | undefined,
): Promise<void> {
  const missing = chain === undefined ? "no endpoint answers" : signer === undefined ? "no hotkey" : undefined;
  if (netuid === undefined)
    return note(failed("registration", "usage", "no subnet is named", "Give --netuid NUMBER, or set CONNITO_NETUID."));
  if (chain === undefined || signer === undefined) return note(unknown("registration", `${missing}`), unknown("task", `${missing}`));
  try {
    note(...(await checkStanding(chain, { netuid, hotkey: signer.address, role })));
    const { taskHash, task, data } = await findTask(chain, signer);
    if (task !== undefined) {
      note(ok("task", `${task.name} (${taskHash})`));
      note(...(await checkRecords(chain, task, { netuid, hotkey: signer.address, role, locator: publish })));
      if (data !== undefined) note(...(await checkData(task, role, data)));
    } else if (taskHash === undefined)
      note(warning("task", "the subnet's owner has published none", "The owner runs `connito task create`; `cycle run` waits for it."));
    else
      note(
        warning(
          "task",
          `${taskHash} is published, and nobody delivers it now`,
          "Name somebody who has it with --peer, or try again later.",
        ),
      );
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ConnitoError)) throw error;
    note(failedBy("task", "network", error));
  }
}

/** Failures in the order in which they must be mended: the first decides. */
function exitOf(findings: readonly Finding[]): number {
  const first = findings.find(({ state }) => state === "failed");
  return first === undefined ? 0 : exitCodes[first.exit ?? "unexpected"];
}
