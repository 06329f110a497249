/** Serves what a participant publishes over HTTP while it runs its cycles: to registered hotkeys, whose requests are signed. */

import { verifySignature } from "../chain/signer.ts";
import { ConnitoError } from "../errors.ts";
import { startServer } from "../exchange/server.ts";
import { type Participants, participantsAt } from "../steps/chain-records.ts";
import type { Context } from "../steps/context.ts";
import type { Membership } from "../steps/membership.ts";
import { createPublication } from "../steps/publication.ts";

/** Finalised blocks for which the list of participants is good; registrations and permits change slowly. */
const participantsFreshness = 10;

export interface Served {
  readonly url: string;
  close(): Promise<void>;
}

/** Starts the server. `listen` is `host:port`. @throws usage, port-in-use */
export async function servePublication(context: Context, membership: Membership, listen: string): Promise<Served> {
  const { host, port } = parseListen(listen);
  const participants = createParticipantsCache(context, membership);
  const publication = createPublication(context, membership, async (hotkey) => {
    const { validators } = await participants();
    return validators.some((validator) => validator.hotkey === hotkey);
  });
  return startServer({
    host,
    port,
    publication,
    hotkey: context.signer.address,
    authorize: async (hotkey) => (await participants()).uids.has(hotkey),
    verify: verifySignature,
    finalizedBlock: async () => (await context.clock.now()).finalized.number,
  });
}

function createParticipantsCache(context: Context, { task }: Membership): () => Promise<Participants> {
  let known: { readonly block: number; readonly participants: Promise<Participants> } | undefined;
  return async () => {
    const { finalized } = await context.clock.now();
    if (known === undefined || finalized.number - known.block >= participantsFreshness) {
      const reading = participantsAt(context.chain, context.netuid, task, finalized.hash);
      const before = known;
      known = { block: finalized.number, participants: reading };
      // A chain that cannot be asked now is asked again at the next request; until then what was known goes on.
      reading.catch(() => {
        known = before;
      });
    }
    return known.participants;
  };
}

function parseListen(listen: string): { host: string; port: number } {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(listen) ?? [];
  if (host !== undefined && port !== undefined && Number(port) <= 65_535)
    return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
  throw new ConnitoError(`${listen} is not HOST:PORT.`, { code: "usage", exit: "usage", hint: "For example --listen 0.0.0.0:8100." });
}

/** Where to listen for a published http address: its port, on this machine only where the address is this machine's own. */
export function defaultListen(locator: string): string {
  const { hostname, port, protocol } = new URL(locator);
  const loopback = hostname === "localhost" || hostname.startsWith("127.") || hostname === "[::1]";
  return `${loopback ? hostname : "0.0.0.0"}:${port || (protocol === "https:" ? 443 : 80)}`;
}
