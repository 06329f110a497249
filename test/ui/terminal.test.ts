import assert from "node:assert/strict";
import { isCapable, wantsColour } from "../../src/ui/terminal.ts";

describe("terminal", () => {
  const terminal = { isTTY: true };

  it("is capable unless it is dumb, and a pipe never is", () => {
    assert.deepEqual(
      [isCapable(terminal, { TERM: "xterm" }), isCapable(terminal, { TERM: "dumb" }), isCapable({}, { TERM: "xterm" })],
      [true, false, false],
    );
  });

  it("without a width is not capable: what is drawn on it could never be cleared", () => {
    const capable = (columns: number) => isCapable({ isTTY: true, columns }, { TERM: "xterm" });
    assert.deepEqual([capable(0), capable(1), capable(80)], [false, true, true]);
  });

  it("gets colours unless NO_COLOR holds anything", () => {
    assert.deepEqual(
      [{}, { NO_COLOR: "" }, { NO_COLOR: "1" }, { NO_COLOR: "0" }, { TERM: "dumb" }].map((environment) =>
        wantsColour(terminal, environment),
      ),
      [true, true, false, false, false],
    );
  });
});
