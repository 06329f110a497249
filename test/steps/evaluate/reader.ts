/** Somebody who reads what validators show: a workspace, a chain on which nobody else is, and a directory as the only peer. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../../../src/steps/context.ts";
import { silentProgress } from "../../../src/ui/progress.ts";
import { openWorkspace } from "../../../src/workspace/workspace.ts";
import { hash } from "../../protocol/support.ts";
import { inTemporaryDirectory } from "../../workspace/support.ts";

export interface Reader {
  readonly context: Context;
  /** The peer's directory. */
  readonly published: string;
  /** Codes of what was noted. */
  readonly notes: unknown[];
}

export async function withReader(
  { role, away = false }: { readonly role: "validator" | "miner"; readonly away?: boolean },
  work: (reader: Reader) => Promise<void>,
): Promise<void> {
  await inTemporaryDirectory(async (directory) => {
    const published = join(directory, "peer");
    if (!away) await mkdir(published);
    const notes: unknown[] = [];
    const workspace = await openWorkspace(join(directory, "reader"), { lock: true });
    const neuron = { hotkey: "reader", uid: 0, stake: 10n ** 9n, validatorPermit: role === "validator", registeredAt: 1 };
    const context = {
      workspace,
      chain: {
        subnetOwnerHotkey: async () => "owner",
        neurons: async () => [neuron],
        commitments: async () => [],
        blockHash: async () => hash("block"),
      },
      clock: { now: async () => ({ finalized: { number: 9, hash: "00" } }) },
      netuid: 3,
      signer: { address: "reader" },
      peers: [`file:${published}`],
      progress: { ...silentProgress, note: (_text: string, fields?: { readonly code?: unknown }) => void notes.push(fields?.code) },
      signal: new AbortController().signal,
    } as unknown as Context;
    try {
      await work({ context, published, notes });
    } finally {
      await workspace.close();
    }
  });
}
