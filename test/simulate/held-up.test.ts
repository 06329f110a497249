import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { windowOf } from "../../src/protocol/clock.ts";
import type { ReportEntry } from "../../src/protocol/report.ts";
import type { Task } from "../../src/protocol/task.ts";
import { type SimulationInput, simulate } from "../../src/simulate/simulate.ts";
import { honest } from "../../src/simulate/strategies/miners.ts";
import { replacing, type Strategy } from "../../src/simulate/strategies/strategy.ts";
import { honestValidator } from "../../src/simulate/strategies/validators.ts";
import type { ChainClock, Heads } from "../../src/steps/clock.ts";
import { score } from "../../src/steps/evaluate/score.ts";
import { silentProgress } from "../../src/ui/progress.ts";
import { head, server, withPeer } from "../exchange/support.ts";

interface HeldUp extends Pick<SimulationInput, "overrides"> {
  /** Requests that the peer does not answer, or hardly. */
  readonly silentAt: (task: Task) => RegExp;
  /** The peer sends a little of what it is asked for, and so much time is over before the chain goes on. */
  readonly dripping?: { readonly milliseconds: number };
  readonly cast: (peer: string) => SimulationInput["cast"];
}

/**
 * Plays a cycle with a validator that, while it scores, asks a peer first which has nothing. Where that is silent, the chain comes to where there is just time
 * to report.
 */
async function holdUp(
  directory: string,
  { silentAt, dripping, cast, overrides = {} }: HeldUp,
): Promise<{ readonly entries: readonly ReportEntry[]; readonly codes: readonly unknown[] }> {
  const listeners = new Set<(heads: Heads) => void>();
  const watch: ChainClock["watch"] = (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  let [silent, late, entries]: [RegExp | undefined, Heads | undefined, readonly ReportEntry[]] = [undefined, undefined, []];
  const codes: unknown[] = [];
  const tell = () => {
    for (const listener of listeners) listener(late as Heads);
  };
  await withPeer(
    (socket, request) => {
      if (request.startsWith("GET /hotkey "))
        socket.write(`${head("200 OK", `content-length: ${server.address.length}`)}${server.address}`);
      else if (!silent?.test(request)) socket.write(head("404 Not Found", "content-length: 0"));
      else if (dripping === undefined) tell();
      else {
        socket.write(head("200 OK", "content-length: 1000000"));
        socket.write(".");
        setTimeout(tell, dripping.milliseconds);
      }
    },
    async ({ url }) => {
      const alone: Strategy = {
        ...honestValidator,
        steps: (scene) =>
          replacing(honestValidator.steps(scene), {
            // So that training data are not here.
            mirror: async () => ({}),
            async score(context, membership, input) {
              const { task } = membership;
              silent = silentAt(task);
              late = { ...(await context.clock.now()), best: windowOf(task, input.cycle, "score").last - 2 };
              const note = (_text: string, fields: { readonly code?: unknown } = {}) => void codes.push(fields.code);
              const given = { clock: { ...context.clock, watch }, progress: { ...silentProgress, note }, peers: [url, ...context.peers] };
              const result = await score({ ...context, ...given }, membership, input);
              entries = result.entries;
              return result;
            },
          }),
      };
      await simulate({
        cast: [{ name: "alone", strategy: alone, stake: 500 }, ...cast(url)],
        overrides,
        ...{ cycles: 1, seed: "1", directory, threads: 1, progress: silentProgress, signal: new AbortController().signal },
      });
    },
  );
  assert.equal(listeners.size, 0);
  return { entries, codes };
}

describe("a validator whom a silent peer holds up while it scores", function () {
  this.timeout(240_000);
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-test-"));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it("does without the training data that do not come by the time that it has left", async () => {
    const { entries, codes } = await holdUp(directory, {
      silentAt: ({ data }) => new RegExp(data.domains.map(({ train }) => train).join("|")),
      cast: () => ["a", "b", "c", "d", "e", "f"].map((name) => ({ name, strategy: honest, trainingSteps: 50 })),
      overrides: { evaluation: { leastTraining: { sequences: 800, drawn: 64 } } },
    });
    assert.ok(entries.filter(({ status }) => status === "accepted").length >= 3);
    // Once a group.
    assert.deepEqual(codes, ["out-of-time", "out-of-time", "asked-too-little"]);
  });

  it("says nothing of a submission that does not, where there is no other", async () => {
    const { entries, codes } = await holdUp(directory, {
      silentAt: () => /^GET \/submissions/,
      cast: (peer) => [{ name: "silent", strategy: servedBy(peer), trainingSteps: 1 }],
    });
    assert.deepEqual(
      entries.map(({ status }) => status),
      ["unscored"],
    );
    assert.deepEqual(codes, ["out-of-time"]);
  });

  it("scores those that serve promptly, and calls unreachable those that drip", async () => {
    const dripping = ["d", "e", "f", "g"];
    const prompt = ["a", "b", "c"];
    const { entries, codes } = await holdUp(directory, {
      silentAt: () => /^GET \/submissions/,
      dripping: { milliseconds: 4000 },
      cast: (peer) => [
        ...prompt.map((name) => ({ name, strategy: honest, trainingSteps: 20 })),
        ...dripping.map((name) => ({ name, strategy: servedBy(peer), trainingSteps: 1 })),
      ],
    });
    const statuses = entries.map(({ status }) => status);
    assert.equal(statuses.filter((status) => status === "unreachable").length, dripping.length);
    assert.ok(!statuses.includes("unscored"));
    assert.ok(statuses.includes("accepted"));
    assert.deepEqual(
      codes,
      dripping.map(() => "out-of-time"),
    );
  });
});

/** Whose reveal names a peer. */
function servedBy(peer: string): Strategy {
  return {
    ...honest,
    steps: (scene) =>
      honest.steps(scene).map(({ name, run }) => ({ name, run: (context, ...rest) => run({ ...context, locator: peer }, ...rest) })),
  };
}
