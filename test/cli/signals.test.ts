import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { Interruption, watchSignals } from "../../src/cli/signals.ts";

function watched() {
  const source = new EventEmitter();
  const exits: number[] = [];
  const left = new Promise<void>((resolve) => source.once("left", resolve));
  const watch = watchSignals({
    source,
    exit: (code) => {
      exits.push(code);
      source.emit("left");
    },
  });
  return { source, exits, left, watch };
}

describe("signals", () => {
  it("abort with the reason that carries the exit code", async () => {
    const { source, exits, watch } = watched();
    assert.equal(watch.signal.aborted, false);
    source.emit("SIGTERM");
    assert.ok(watch.signal.reason instanceof Interruption);
    assert.deepEqual([watch.signal.reason.exit, exits], [143, []]);
    await watch.finish();
  });

  it("run what was registered once, the last first, when the command ends", async () => {
    const { watch } = watched();
    const done: string[] = [];
    watch.onFinish(() => done.push("lock"));
    watch.onFinish(async () => {
      await new Promise(setImmediate);
      done.push("chain");
    });
    const takeBack = watch.onFinish(() => done.push("partial file"));
    takeBack();
    await watch.finish();
    await watch.finish();
    assert.deepEqual(done, ["chain", "lock"]);
  });

  it("run all of it even where one fails, and then say so", async () => {
    const { watch } = watched();
    const done: string[] = [];
    watch.onFinish(() => done.push("lock"));
    watch.onFinish(() => Promise.reject(new Error("no chain")));
    await assert.rejects(watch.finish(), /no chain/);
    assert.deepEqual(done, ["lock"]);
  });

  it("force the end with the second, after releasing what can be released", async () => {
    const { source, exits, left, watch } = watched();
    const done: string[] = [];
    watch.onFinish(() => done.push("lock"));
    source.emit("SIGINT");
    source.emit("SIGINT");
    await left;
    assert.deepEqual([done, exits[0]], [["lock"], 130]);
    await watch.finish();
  });

  it("force the end even where something cannot be released", async () => {
    const { source, exits, left, watch } = watched();
    watch.onFinish(() => new Promise(() => {}));
    source.emit("SIGHUP");
    source.emit("SIGTERM");
    await left;
    assert.deepEqual(exits, [143]);
  });

  it("are no longer listened to once the command has ended", async () => {
    const { source, watch } = watched();
    await watch.finish();
    assert.equal(source.emit("SIGINT"), false);
  });
});
