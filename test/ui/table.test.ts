import assert from "node:assert/strict";
import { fields, table } from "../../src/ui/table.ts";

describe("table", () => {
  it("is columns under one line, numbers to the right, without colours or trailing spaces", () => {
    const text = table(
      ["miner", { heading: "score", align: "right" }, "status"],
      [
        ["5Grwva", 12, "accepted"],
        ["5FHneW", 1234567n, undefined],
        ["5DAAnr", 0, "no-gain"],
      ],
    );
    assert.equal(
      text,
      [
        "miner     score  status",
        "──────  ───────  ────────",
        "5Grwva       12  accepted",
        "5FHneW  1234567  -",
        "5DAAnr        0  no-gain",
      ].join("\n"),
    );
  });

  it("is its headings where there are no rows", () => {
    assert.match(table(["a", "b"], []), /^a {2}b/);
  });

  it("counts characters and not code units", () => {
    assert.equal(table(["a", "b"], [["𝛼…", "x"]]).split("\n")[2], "𝛼…  x");
  });
});

describe("fields", () => {
  it("are names of one width with their values", () => {
    assert.equal(
      fields([
        ["family", "olmoe"],
        ["root", undefined],
        ["bytes", 12],
      ]),
      "family  olmoe\nroot    -\nbytes   12",
    );
  });
});
