/**
 * One `cycle run` a hotkey on a machine, whatever their state directories: two would commit against each other, and each would take the other's
 * place in the transaction queue. (A second one on another machine is noticed on the chain, by the nonces that it takes.)
 */
import { mkdir } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import type { Chain } from "../chain/client.ts";
import { ConnitoError } from "../errors.ts";
import { acquireLock, type Lock } from "../workspace/lock.ts";

/** Local chains may well share a genesis: their port tells them apart. */
function nameOf(address: string, { genesisHash, endpoint }: Pick<Chain, "genesisHash" | "endpoint">): string {
  const { hostname, port } = new URL(endpoint() ?? "ws://unknown");
  const local = ["127.0.0.1", "localhost", "[::1]"].includes(hostname);
  return [address, genesisHash.slice(2, 18), ...(local ? [port] : [])].join("-");
}

/** Throws `hotkey-in-use`, which names the process. */
export async function lockHotkey(address: string, chain: Pick<Chain, "genesisHash" | "endpoint">): Promise<Lock> {
  const directory = join(tmpdir(), `connito-${userInfo().uid}`);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    return await acquireLock(join(directory, `${nameOf(address, chain)}.lock`));
  } catch (error) {
    if (!(error instanceof ConnitoError) || error.code !== "state-locked") throw error;
    throw new ConnitoError(`another \`cycle run\` acts with the hotkey ${address}: ${error.message}`, {
      code: "hotkey-in-use",
      exit: "locked",
      hint: "End that process first. Each participant needs a hotkey of its own.",
      cause: error,
    });
  }
}
