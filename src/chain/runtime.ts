/**
 * The chain's runtime as polkadot.js decodes it: opened once, and opened anew when the chain has been upgraded, which is looked up before anything is
 * signed (a signature names the version it is for).
 */
import type { ApiPromise } from "@polkadot/api";
import { chainUnsupported } from "./chain-errors.ts";
import type { Link } from "./link.ts";
import { providerOf } from "./provider.ts";

export interface Runtime {
  /** As last opened. */
  api(): ApiPromise;
  /** As of the best block. */
  latest(): Promise<ApiPromise>;
}

/** What every chain that this tool works with has. */
const pallets = ["system", "subtensorModule", "commitments"];

async function openApi(link: Link): Promise<ApiPromise> {
  const [{ ApiPromise }] = await Promise.all([import("@polkadot/api"), link.connected()]);
  const api = new ApiPromise({ provider: providerOf(link), noInitWarn: true });
  await new Promise<void>((resolve, reject) => {
    api.once("error", (error: Error) => reject(chainUnsupported(`what a Subtensor node has: ${error.message}`)));
    api.isReady.then(() => resolve(), reject);
  });
  const missing = pallets.find((pallet) => api.query[pallet] === undefined);
  if (missing !== undefined) throw chainUnsupported(`the pallet ${missing}`);
  return api;
}

/** Throws `chain-unreachable`, `chain-changed`, `chain-unsupported`. */
export async function openRuntime(link: Link): Promise<Runtime> {
  let current = await openApi(link);
  let opening: Promise<void> | undefined;
  return {
    api: () => current,
    async latest() {
      const { specVersion } = await link.call<{ specVersion: number }>("state_getRuntimeVersion", []);
      if (current.runtimeVersion.specVersion.toNumber() !== specVersion) {
        opening ??= openApi(link)
          .then((opened) => {
            current = opened;
          })
          .finally(() => {
            opening = undefined;
          });
        await opening;
      }
      return current;
    },
  };
}
