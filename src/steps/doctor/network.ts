/** What `doctor` looks at on the chain: each endpoint by itself, the clock against the blocks, and how the hotkey stands on the subnet. */
import { type Chain, connectChain, type Subnet } from "../../chain/client.ts";
import { ConnitoError } from "../../errors.ts";
import { type Finding, failed, failedBy, ok, unknown, warning } from "./finding.ts";

/** Blocks behind the furthest endpoint, and between the best block and the finalised one, that are worth a word. */
const noticeableLag = 3;
const noticeableFinality = 10;
/** Seconds between the block's clock and this machine's: one block time of mainnet is 12. */
const noticeableAge = 60;
const noticeableFuture = 10;

interface Reached {
  readonly endpoint: string;
  readonly chain: Chain;
  readonly milliseconds: number;
  readonly best: { readonly number: number; readonly hash: string };
  readonly finalized: number;
}

async function reach(endpoint: string, patience: number, signal: AbortSignal): Promise<Reached> {
  const begun = performance.now();
  const chain = await connectChain({ endpoints: [endpoint], timeout: patience, patience, signal });
  try {
    const milliseconds = performance.now() - begun;
    const [best, finalized] = await Promise.all([chain.bestHead(), chain.finalizedHead()]);
    return { endpoint, chain, milliseconds, best, finalized: finalized.number };
  } catch (error) {
    chain.disconnect();
    throw error;
  }
}

function endpointFinding({ endpoint, milliseconds, best, finalized }: Reached, furthest: number): Finding {
  const check = `endpoint ${endpoint}`;
  const found = `block ${best.number}, final ${finalized}, ready in ${milliseconds.toFixed(0)} ms`;
  if (furthest - best.number > noticeableLag)
    return warning(
      check,
      `${found}: ${furthest - best.number} blocks behind another`,
      "It is still catching up, or stuck: leave it out of --network.",
    );
  if (best.number - finalized > noticeableFinality)
    return warning(
      check,
      `${found}: finality is ${best.number - finalized} blocks behind`,
      "Nothing counts before it is final: steps will wait. If it lasts, ask on the network's channel.",
    );
  return ok(check, found);
}

/** Every endpoint by itself, each given `patience` milliseconds, and the chain of the furthest for what follows; the caller disconnects it. */
export async function checkEndpoints(
  endpoints: readonly string[],
  patience: number,
  signal: AbortSignal,
): Promise<{ readonly findings: readonly Finding[]; readonly chain?: Chain }> {
  const attempts = await Promise.allSettled(endpoints.map((endpoint) => reach(endpoint, patience, signal)));
  signal.throwIfAborted();
  const reached = attempts.flatMap((attempt) => (attempt.status === "fulfilled" ? [attempt.value] : []));
  const furthest = [...reached].sort((one, other) => other.best.number - one.best.number)[0];
  for (const { chain } of reached) if (chain !== furthest?.chain) chain.disconnect();
  const findings = attempts.map((attempt, index): Finding => {
    if (attempt.status === "fulfilled") {
      if (attempt.value.chain.genesisHash === furthest?.chain.genesisHash) return endpointFinding(attempt.value, furthest.best.number);
      return failed(`endpoint ${endpoints[index]}`, "network", "it serves another chain than the others", "Take it out of --network.");
    }
    const finding = failedBy(`endpoint ${endpoints[index]}`, "network", attempt.reason);
    // one of several that is away is what the others are for
    return furthest === undefined ? finding : { ...finding, state: "warning" };
  });
  return { findings, ...(furthest === undefined ? {} : { chain: furthest.chain }) };
}

/** Nothing is decided by the wall clock, but certificates and people go by it, and a chain that stands still shows here. */
export async function checkClock(chain: Chain, now: () => number = Date.now): Promise<Finding> {
  const best = await chain.bestHead();
  const time = await chain.timestamp(best.hash);
  // A chain's first block has no time.
  if (time === 0) return unknown("clock", `block ${best.number} does not say the time yet`);
  const age = (now() - time) / 1000;
  const found = `block ${best.number} is ${Math.abs(age).toFixed(0)} s ${age < 0 ? "ahead of" : "behind"} this machine's clock`;
  if (age > noticeableAge)
    return warning(
      "clock",
      found,
      "The chain stands still, the endpoint is behind, or this machine's clock is fast: compare with `timedatectl`.",
    );
  if (age < -noticeableFuture)
    return warning("clock", found, "This machine's clock is slow: switch on time synchronisation (`timedatectl set-ntp true`).");
  return ok("clock", found);
}

export interface Standing {
  readonly netuid: number;
  readonly hotkey: string;
  /** What the operator means to be; absent: whatever the chain says. */
  readonly role?: "miner" | "validator" | "owner" | undefined;
}

function registration(subnet: Subnet, { netuid, hotkey, role }: Standing): Finding {
  const neuron = subnet.neurons.find((one) => one.hotkey === hotkey);
  const owner = subnet.ownerHotkey === hotkey;
  if (neuron === undefined && !(role === "owner" && owner)) {
    const advice = `Register it with its coldkey: \`btcli subnets register --netuid ${netuid}\`; on a local chain \`connito localnet register\`.`;
    return failed("registration", "rejected", `${hotkey} is not registered on subnet ${netuid}`, advice);
  }
  if (role === "owner" && !owner)
    return failed(
      "registration",
      "rejected",
      `subnet ${netuid} is owned by ${subnet.ownerHotkey ?? "nobody"}`,
      "Act with that hotkey: --wallet-name, --hotkey.",
    );
  return ok("registration", `${owner ? "owner" : `uid ${neuron?.uid}`} of subnet ${netuid}, one of ${subnet.neurons.length}`);
}

function permit(subnet: Subnet, { hotkey, role }: Standing): Finding {
  const neuron = subnet.neurons.find((one) => one.hotkey === hotkey);
  const stake = `${Number(neuron?.stake ?? 0n) / 1e9} of stake`;
  if (neuron?.validatorPermit === true) return ok("permit", `validator permit, ${stake}`);
  if (role === "validator")
    return failed(
      "permit",
      "rejected",
      `no validator permit, ${stake}`,
      "Permits go to the largest stakes at each epoch: `btcli stake add`, or wait for the epoch.",
    );
  return ok("permit", `none, ${stake}: a miner needs none`);
}

/** How the hotkey stands: registration, permit, balance, and the space that it has left for commitments. */
export async function checkStanding(chain: Chain, standing: Standing): Promise<readonly Finding[]> {
  const { netuid, hotkey } = standing;
  const { hash } = await chain.finalizedHead();
  let subnet: Subnet;
  try {
    subnet = await chain.subnet(netuid, hash);
  } catch (error) {
    if (!(error instanceof ConnitoError)) throw error;
    return [failedBy("subnet", "invalidInput", error)];
  }
  const registered = registration(subnet, standing);
  if (registered.state === "failed") return [registered, unknown("permit", "not registered"), unknown("space", "not registered")];
  const [{ used, limit, nextEpoch }, balance] = await Promise.all([chain.space(netuid, hotkey, hash), chain.balance(hotkey, hash)]);
  const space = `${used} of ${limit} bytes of this epoch used`;
  return [
    registered,
    permit(subnet, standing),
    ok("balance", `${Number(balance) / 1e9} TAO on the hotkey: commitments and weights cost nothing`),
    // A validator writes three records of 128 bytes at most in a cycle, a miner two.
    limit - used >= 384
      ? ok("space", space)
      : warning(
          "space",
          space,
          `Records wait for block ${nextEpoch}. Another tool that writes commitments with this hotkey takes from the same space.`,
        ),
  ];
}
