/**
 * The networks that operators know by name, and their public endpoints. Whatever else is given must be the address of a node.
 */
import { ConnitoError } from "../errors.ts";

/** Public endpoints by network name, as the Bittensor SDK and btcli name them. */
export const networks = {
  finney: ["wss://entrypoint-finney.opentensor.ai:443"],
  test: ["wss://test.finney.opentensor.ai:443"],
  archive: ["wss://archive.chain.opentensor.ai:443"],
  local: ["ws://127.0.0.1:9944"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type NetworkName = keyof typeof networks;

function isEndpoint(text: string): boolean {
  return /^wss?:\/\/[^\s]+$/.test(text) && URL.canParse(text);
}

/**
 * The endpoints of `finney`, `test`, `archive`, `local`, or of a list of `ws://` and `wss://` addresses separated by commas, in the order in
 * which they are tried. Throws `network-unknown`.
 */
export function resolveNetwork(network: string): readonly string[] {
  if (Object.hasOwn(networks, network)) return networks[network as NetworkName];
  const endpoints = network.split(",").map((endpoint) => endpoint.trim());
  if (endpoints.every(isEndpoint)) return endpoints;
  throw new ConnitoError(`${JSON.stringify(network.slice(0, 120))} is neither the name of a network nor the address of a node`, {
    code: "network-unknown",
    exit: "usage",
    hint: `Name one of ${Object.keys(networks).join(", ")}, or give addresses like ws://127.0.0.1:9944, separated by commas.`,
  });
}
