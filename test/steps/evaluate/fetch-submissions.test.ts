import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { artifactRoot } from "../../../src/protocol/artifact.ts";
import type { ReportEntry } from "../../../src/protocol/report.ts";
import type { ChainVerdict } from "../../../src/protocol/verdict.ts";
import type { Heads } from "../../../src/steps/clock.ts";
import type { Context } from "../../../src/steps/context.ts";
import type { CycleView } from "../../../src/steps/cycle-view.ts";
import { type Fetched, fetchSubmissions, statusOfLate } from "../../../src/steps/evaluate/fetch-submissions.ts";
import type { Membership } from "../../../src/steps/membership.ts";
import { submissionPath } from "../../../src/steps/train/submissions.ts";
import { deliver, head, participant, validator, withPeer } from "../../exchange/support.ts";
import { exampleTask } from "../../protocol/support.ts";
import { withReader } from "./reader.ts";

const bytesOf = (name: string) => Buffer.from(`the submission of ${name}`.padEnd(1000, "."));
const rootOf = (name: string) => artifactRoot(bytesOf(name));

/** A miner's server that is asked for its submission. */
interface Asked {
  readonly name: string;
  readonly nth: number;
  whole(): void;
  /** A byte now and then, of many. */
  drip(): void;
  refuse(): void;
}

interface Play {
  readonly outcome: Promise<Map<string, ReportEntry["status"]>>;
  /** So many blocks are over, of the ten in which everything has to be measured. */
  readonly comeTo: (blocks: number) => void;
  /** Waits until submissions are here. */
  readonly here: (names: readonly string[]) => Promise<void>;
  readonly began: number;
  readonly codes: readonly unknown[];
}

const addressOf = (name: string) => participant(name).address;

/** A validator fetches the submissions of miners, in this order; some are there `already`, and of those that come some are as they should be (`sound`). */
async function play(
  names: readonly string[],
  serve: (asked: Asked) => void,
  work: (play: Play) => Promise<void>,
  { already = [], sound = names }: { readonly already?: readonly string[]; readonly sound?: readonly string[] } = {},
): Promise<void> {
  const byRoot = new Map(names.map((name) => [rootOf(name), name]));
  const counts = new Map<string, number>();
  const timers: NodeJS.Timeout[] = [];
  const answer: Parameters<typeof withPeer>[0] = (socket, request) => {
    const name = byRoot.get(/[0-9a-f]{64}/.exec(request)?.[0] ?? "") as string;
    const nth = (counts.get(name) ?? 0) + 1;
    counts.set(name, nth);
    serve({
      ...{ name, nth },
      whole: () => deliver(socket, request, bytesOf(name)),
      drip: () => {
        socket.write(head("200 OK", "content-length: 1000000"));
        timers.push(setInterval(() => socket.write("."), 50));
      },
      refuse: () => void socket.write(head("404 Not Found", "content-length: 0")),
    });
  };
  const fetchFrom = ({ url }: { readonly url: string }) =>
    withReader({ role: "validator" }, async ({ context: reader, notes }) => {
      const heads = (best: number): Heads => ({ best, finalized: { number: best, hash: "00" } });
      let tell = (_: Heads): void => undefined;
      const watch = (listener: typeof tell) => {
        tell = listener;
        return () => undefined;
      };
      const context = { ...reader, clock: { now: async () => heads(100), watch }, signer: validator } as unknown as Context;
      const verdicts = names.map((name) => {
        const reveal = { record: { artifactRoot: rootOf(name), locator: url } };
        return { miner: participant(name).address, status: "to-fetch", reveal } as unknown as ChainVerdict;
      });
      const began = performance.now();
      const fetching = { view: { cycle: 0 } as CycleView, end: 110, sources: undefined };
      const settled = async (fetched: Promise<Fetched>) => {
        const { refused, late, ...times } = await fetched;
        const status = statusOfLate({ refused, late, ...times }, sound.map(addressOf));
        return new Map([...refused, ...late.map((miner) => [miner, status] as const)]);
      };
      for (const name of already) {
        await mkdir(context.workspace.layout.submissions, { recursive: true });
        await writeFile(submissionPath(context.workspace, rootOf(name)), bytesOf(name));
      }
      const isHere = (name: string) => existsSync(submissionPath(context.workspace, rootOf(name)));
      await work({
        outcome: settled(fetchSubmissions(context, { task: exampleTask() } as Membership, fetching, verdicts)),
        comeTo: (blocks) => tell(heads(100 + blocks)),
        here: async (wanted) => {
          for (const name of wanted)
            for (; !isHere(name); await pause(5)) assert.ok(performance.now() - began < 20_000, `${name} does not come`);
        },
        ...{ began, codes: notes },
      });
    });
  try {
    await withPeer(answer, fetchFrom);
  } finally {
    for (const timer of timers) clearInterval(timer);
  }
}

const statusesOf = (names: readonly string[], status: ReportEntry["status"]) =>
  new Map(names.map((name) => [participant(name).address, status]));

describe("fetching submissions", function () {
  this.timeout(60_000);
  const slow = Array.from({ length: 100 }, (_, index) => `slow ${index}`);
  const prompt = ["a", "b", "c"];
  const slowly = ({ name, whole, drip }: Asked) => (slow.includes(name) ? drip() : whole());

  it("has those that are served promptly, however many are not, and calls these unreachable at half of the time", () =>
    play([...slow, ...prompt], slowly, async ({ outcome, here, comeTo, began, codes }) => {
      await here(prompt);
      await pause(1.5 * (performance.now() - began));
      comeTo(4);
      assert.equal(await Promise.race([outcome, pause(50, "open")]), "open");
      comeTo(5);
      assert.deepEqual(await outcome, statusesOf(slow, "unreachable"));
      assert.deepEqual(new Set(codes), new Set(["out-of-time"]));
    }));

  it("says nothing of the late where all take long: the line may be this validator's", async () => {
    const few = slow.slice(0, 2);
    await play(few, slowly, async ({ outcome, comeTo }) => {
      await pause(300);
      comeTo(5);
      assert.deepEqual(await outcome, statusesOf(few, "unscored"));
    });
    const longly = (asked: Asked) => (slow.includes(asked.name) ? asked.drip() : setTimeout(asked.whole, 2000));
    await play([...few, "a"], longly, async ({ outcome, here, comeTo }) => {
      await here(["a"]);
      comeTo(5);
      assert.deepEqual(await outcome, statusesOf(few, "unscored"));
    });
  });

  it("tells nothing of the line from what is not as it should be, nor from what was here before", async () => {
    const few = slow.slice(0, 2);
    for (const only of [{ sound: few }, { already: ["a"] }])
      await play(
        [...few, "a"],
        slowly,
        async ({ outcome, here, comeTo }) => {
          await here(["a"]);
          await pause(1000);
          comeTo(5);
          assert.deepEqual(await outcome, statusesOf(few, "unscored"));
        },
        only,
      );
  });

  it("asks once more, later, who does not deliver", () =>
    play(
      ["a", "gone"],
      ({ name, nth, whole, refuse }) => (name === "a" && nth > 1 ? whole() : refuse()),
      async ({ outcome }) => {
        assert.deepEqual(await outcome, statusesOf(["gone"], "unreachable"));
      },
    ));
});
