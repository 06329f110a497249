import assert from "node:assert/strict";
import fc from "fast-check";
import { resourceAt, resourceRules } from "../../src/exchange/resources.ts";
import { miner } from "./support.ts";

const hash = "0123456789abcdef".repeat(4);

describe("resources", () => {
  it("are these, and nothing else", () => {
    assert.equal(resourceRules.length, 7);
    assert.deepEqual(resourceAt("/task.json")?.resource, { kind: "task" });
    assert.deepEqual(resourceAt(`/tasks/${hash}.json`)?.resource, { kind: "task-document", hash });
    assert.deepEqual(resourceAt(`/manifests/${hash}.json`)?.resource, { kind: "manifest", root: hash });
    assert.deepEqual(resourceAt(`/objects/${hash}`)?.resource, { kind: "object", hash });
    assert.deepEqual(resourceAt(`/submissions/${hash}`)?.resource, { kind: "submission", root: hash });
    const report = { kind: "report", cycle: 12, hotkey: miner.address };
    assert.deepEqual(resourceAt(`/reports/12/${miner.address}.json`)?.resource, report);
    const group = { kind: "group-result", cycle: 12, group: 3, hotkey: miner.address };
    assert.deepEqual(resourceAt(`/groups/12/3/${miner.address}.json`)?.resource, group);
    assert.equal(resourceAt(`/groups/12/65536/${miner.address}.json`), undefined);
  });

  it("do not exist in any other spelling", () => {
    const wrong = [
      "",
      "/",
      "task.json",
      "/task.json/",
      "//task.json",
      "/task.json?x",
      "/task.json#x",
      "/TASK.json",
      `/objects/${hash.toUpperCase()}`,
      `/objects/${hash}/`,
      `/objects/${hash}0`,
      `/objects/${hash}\n`,
      `/objects/${hash}%00`,
      `/objects/${hash}\0`,
      `/objects/../objects/${hash}`,
      `/objects/./${hash}`,
      `/objects%2f${hash}`,
      "/objects/../../etc/passwd",
      "/objects/%2e%2e/%2e%2e/etc/passwd",
      `/reports/012/${miner.address}.json`,
      `/reports/-1/${miner.address}.json`,
      `/reports/4294967296/${miner.address}.json`,
      `/reports/1/${miner.address.slice(0, -1)}x.json`,
      "/reports/1/../../x.json",
      `/manifests/${hash}`,
    ];
    for (const path of wrong) assert.equal(resourceAt(path), undefined, JSON.stringify(path));
  });

  it("never name a path with a step upwards, whatever is asked", () => {
    const part = fc.constantFrom(
      "/",
      "..",
      ".",
      "objects",
      "task.json",
      hash,
      "%2e",
      "%2f",
      "\\",
      "\0",
      "reports",
      "1",
      ".json",
      miner.address,
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        const path = parts.join("");
        if (resourceAt(path) !== undefined) assert.match(path, /^\/[a-z]+(\/[0-9A-Za-z]+)*(\.json)?$/);
      }),
    );
  });
});
