import assert from "node:assert/strict";
import { keptTable } from "../../src/cli/kept-weight.ts";

describe("the table of what groups keep together", () => {
  it("has a row for each grouping and domain, the even split first, shares in percent", () => {
    const kept = (domain: string, group: number, inGroup: number) => ({
      domain,
      group,
      inGroup,
      leastInLayer: 0.25,
      mostInLayer: 1,
      pairsTogether: 0.469,
    });
    const [heading, empty, ...lines] = keptTable(2, {
      even: [kept("law", 0, 0.5048), kept("sea", 1, 0.4999)],
      coactivation: [kept("law", 1, 0.9), kept("sea", 0, 1)],
    }).split("\n");
    assert.deepEqual([heading, empty], ["Routed weight that one of the 2 groups keeps:", ""]);
    assert.deepEqual(
      lines.map((line) => line.trimEnd().split(/ {2,}/)),
      [
        ["grouping", "domain", "group", "kept", "by layer", "pairs together"],
        lines[1]?.trimEnd().split(/ {2,}/),
        ["even", "law", "0", "50.5%", "25.0% to 100.0%", "46.9%"],
        ["even", "sea", "1", "50.0%", "25.0% to 100.0%", "46.9%"],
        ["coactivation", "law", "1", "90.0%", "25.0% to 100.0%", "46.9%"],
        ["coactivation", "sea", "0", "100.0%", "25.0% to 100.0%", "46.9%"],
      ],
    );
  });
});
