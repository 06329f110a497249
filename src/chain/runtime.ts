/**
 * The chain's runtimes: the one in force, and for blocks of the past the one that made them. Each is opened once, from its own metadata, and an
 * upgrade is looked for before anything is signed (a signature names the version it is for).
 */
import { chainUnsupported, RpcFailure } from "./chain-errors.ts";
import type { Link } from "./link.ts";
import { type Codecs, codecsOf, loadCodecLibrary } from "./metadata.ts";
import { createRecent } from "./recent.ts";

export interface Runtime {
  readonly specVersion: number;
  readonly transactionVersion: number;
  readonly codecs: Codecs;
}

export interface Runtimes {
  /** The runtime of the best block, looked up anew. Throws `chain-unsupported`. */
  latest(): Promise<Runtime>;
  /** The runtime that the state of a block holds, which makes the block after it. */
  heldBy(hash: string): Promise<Runtime>;
}

interface Version {
  readonly specVersion: number;
  readonly transactionVersion: number;
}

/** What every chain that this tool works with has. */
const pallets = ["System", "SubtensorModule", "Commitments"];
/** The versions of metadata that describe runtime APIs, in the order in which they are asked for. */
const metadataVersions = [15, 16];

async function readMetadata(link: Link, at: readonly string[]): Promise<Codecs> {
  const { Bytes, Option, u32 } = await loadCodecLibrary();
  for (const version of metadataVersions) {
    const parameter = `0x${Buffer.from(u32.enc(version)).toString("hex")}`;
    const answer = await link.call<string>("state_call", ["Metadata_metadata_at_version", parameter, ...at]).catch((error) => {
      if (error instanceof RpcFailure && /not found|wasm:unreachable/i.test(error.message)) return undefined;
      throw error;
    });
    const metadata = answer === undefined ? undefined : Option(Bytes()).dec(answer);
    if (metadata === undefined) continue;
    const codecs = await codecsOf(metadata);
    const missing = pallets.find((pallet) => !codecs.has(pallet));
    if (missing !== undefined) throw chainUnsupported(`the pallet ${missing}`);
    return codecs;
  }
  throw chainUnsupported("metadata that describes its runtime APIs");
}

export function createRuntimes(link: Link): Runtimes {
  const opened = createRecent<number, Promise<Runtime>>(4);

  async function open(at: readonly string[]): Promise<Runtime> {
    const { specVersion, transactionVersion } = await link.call<Version>("state_getRuntimeVersion", at);
    return opened.get(specVersion, async () => ({ specVersion, transactionVersion, codecs: await readMetadata(link, at) }));
  }

  return {
    latest: () => open([]),
    heldBy: (hash) => open([hash]),
  };
}
