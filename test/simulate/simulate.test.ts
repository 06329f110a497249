import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { castOf } from "../../src/simulate/cast.ts";
import type { SimulationOutcome } from "../../src/simulate/outcome.ts";
import { simulate } from "../../src/simulate/simulate.ts";
import { silentProgress } from "../../src/ui/progress.ts";

describe("simulate/simulate", function () {
  this.timeout(240_000);
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-test-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  async function play(miners: string[], validators: string[], seed: string): Promise<SimulationOutcome> {
    await rm(join(directory, "players"), { recursive: true, force: true });
    const signal = new AbortController().signal;
    return simulate({ cast: castOf(miners, validators), cycles: 1, seed, directory, threads: 1, progress: silentProgress, signal });
  }

  it("pays honest work and nothing else, whatever a liar says, and the same run comes again from the same seed", async () => {
    const cast = [
      ["honest:2@60", "not-a-number", "byte-copy"],
      ["honest:2@400", "liar@700", "honest@1/1"],
    ] as const;
    const first = await play([...cast[0]], [...cast[1]], "1");
    assert.deepEqual(await play([...cast[0]], [...cast[1]], "1"), first);
    const honest = first.players.filter((player) => player.role === "miner" && player.honest);
    assert.ok(Math.abs(honest.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-9, JSON.stringify(first.players));
    const status = (name: string) => first.players.find((player) => player.name === name)?.statuses[0];
    assert.equal(status("not-a-number"), "non-finite", JSON.stringify(first.players));
    assert.ok(["copy", undefined, "not-committed"].includes(status("byte-copy")), status("byte-copy"));
    assert.deepEqual([first.agreed, first.moved], [[true], [true]]);
    const faults = first.players.filter(({ role }) => role === "validator").map(({ honest: isHonest, faults: of }) => [isHonest, of[0]]);
    assert.deepEqual(faults, [
      [true, []],
      [true, []],
      [false, ["contradicted", "no vote"]],
      // It comes in a cycle that is not played.
      [true, undefined],
    ]);
    assert.ok((first.losses[1] as number) < (first.losses[0] as number));
    // What it left is of a chain that is no more.
    const signal = new AbortController().signal;
    const again = { cast: castOf([...cast[0]], ["honest"]), cycles: 1, seed: "1", directory, threads: 1, progress: silentProgress, signal };
    await assert.rejects(simulate(again), { code: "simulation-there" });
  });

  it("refuses casts that cannot play", async () => {
    for (const [miners, validators] of [
      [["honest"], []],
      [["noisy-copy"], ["honest"]],
      [["unheard-of"], ["honest"]],
      [["honest:"], ["honest"]],
      [["honest:0"], ["honest"]],
      [["honest"], ["honest@0"]],
      [["honest/3-2"], ["honest"]],
    ] as const) {
      await assert.rejects(async () => play([...miners], [...validators], "1"), { exit: 2 });
    }
  });
});
