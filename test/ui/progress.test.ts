import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";
import { activityText, bar, chooseProgress, createProgress, type ProgressKind } from "../../src/ui/progress.ts";

/** Progress of a kind with a clock that is set by hand, and what it wrote. */
function recorded(kind: ProgressKind) {
  const stream = new PassThrough();
  const clock = { now: 0 };
  const progress = createProgress({ kind, stream, now: () => clock.now });
  const text = () => String(stream.read() ?? "");
  return {
    progress,
    clock,
    text,
    events: () =>
      text()
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
  };
}

describe("progress", () => {
  it("as JSON is one object a line, with whatever a note carries", () => {
    const { progress, clock, events } = recorded("json");
    progress.start("training", 40);
    clock.now = 2500;
    progress.update(12, "loss 3.21");
    progress.note("serving", { event: "serving", stake: 2n ** 64n });
    clock.now = 4000;
    progress.succeed();
    assert.deepEqual(events(), [
      { event: "start", label: "training", total: 40 },
      { event: "update", label: "training", done: 12, total: 40, detail: "loss 3.21" },
      { event: "serving", label: "serving", stake: "18446744073709551616" },
      { event: "succeed", label: "training", milliseconds: 4000 },
    ]);
  });

  it("as plain text is a line a step", () => {
    const { progress, clock, text } = recorded("plain");
    progress.start("hashing", 4);
    progress.update(1);
    progress.note("by the way");
    clock.now = 61_000;
    progress.succeed("hashed");
    progress.start("sending");
    progress.update(7, "bytes");
    progress.fail();
    assert.equal(
      text(),
      "hashing ...\nhashing: 1/4 (25%)\nby the way\nhashed: done in 1 min 01 s\nsending ...\nsending: 7 bytes\nsending: failed\n",
    );
  });

  it("shows bytes as such, how fast they go, and how long the rest takes, by what came in this run", () => {
    const { progress, clock, text } = recorded("plain");
    progress.start("hashing", 4 * 2 ** 30, "bytes");
    progress.update(2 ** 30);
    clock.now = 10_000;
    progress.update(2 * 2 ** 30);
    assert.equal(text(), "hashing ...\nhashing: 1.00 GiB/4.00 GiB (25%)\nhashing: 2.00 GiB/4.00 GiB (50%) 102 MiB/s, 20.0 s left\n");
  });

  it("thins out updates, but shows the first and the last", () => {
    const { progress, clock, events } = recorded("json");
    progress.start("training", 1000);
    for (let done = 1; done <= 1000; done++) {
      clock.now += 10;
      progress.update(done);
    }
    const shown = events()
      .filter(({ event }) => event === "update")
      .map(({ done }) => done);
    assert.deepEqual(shown, [1, 101, 201, 301, 401, 501, 601, 701, 801, 901, 1000]);
  });

  it("says nothing of an activity that was never begun", () => {
    const { progress, text } = recorded("plain");
    progress.update(3);
    progress.succeed();
    progress.fail();
    assert.equal(text(), "");
  });

  it("can be silent", () => {
    const { progress, text } = recorded("none");
    progress.start("a");
    progress.note("b");
    progress.fail();
    assert.equal(text(), "");
  });

  it("on a terminal leaves a line for what ended, and for notes", async () => {
    const { progress, clock, text } = recorded("terminal");
    progress.start("training", 4);
    progress.update(2, "loss 3.2");
    progress.note("a note");
    clock.now = 1500;
    progress.succeed();
    progress.start("sending");
    progress.fail("not sent");
    // The spinner is loaded in the background; when it comes there is nothing left to show.
    await sleep(200);
    assert.equal(stripVTControlCharacters(text()), "a note\n✔ training (1.5 s)\n✖ not sent (0 ms)\n");
  });

  it("chooses a spinner for terminals that can move the cursor only", () => {
    const term = process.env["TERM"];
    try {
      process.env["TERM"] = "xterm";
      assert.equal(chooseProgress({ isTTY: true }, "json"), "terminal");
      assert.equal(chooseProgress({}, "json"), "json");
      process.env["TERM"] = "dumb";
      assert.equal(chooseProgress({ isTTY: true }, "plain"), "plain");
    } finally {
      if (term === undefined) delete process.env["TERM"];
      else process.env["TERM"] = term;
    }
  });

  it("draws a bar of the share that is done, and counts where there is no total", () => {
    assert.equal(bar(0.5, 4), "██░░");
    assert.deepEqual([bar(-1, 2), bar(2, 2), bar(Number.NaN, 2)], ["░░", "██", "░░"]);
    assert.equal(
      activityText({ label: "training", total: 40, done: 10, detail: "loss 3.2" }),
      `training ${bar(0.25)} 10/40 (25%) loss 3.2`,
    );
    assert.equal(activityText({ label: "waiting" }), "waiting");
    assert.equal(activityText({ label: "waiting", done: 3, detail: "blocks" }), "waiting 3 blocks");
  });
});
