/** A family is added wholly or not at all: code, golden, published model, documentation (docs/families.md says how). */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { families, listTensors, readArchitecture } from "../../../src/model/families/index.ts";
import { goldens, goldensWithoutFamily, smallModels } from "./goldens.ts";
import { publishedModels } from "./published.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const sources = join(root, "src", "model", "families");
/** The rows of the table at the top; further down is another, of what was measured. */
const table = (readFileSync(join(root, "docs", "families.md"), "utf8").split("\n## ")[0] as string)
  .split("\n")
  .filter((line) => line.startsWith("| `"));

describe("families are complete", () => {
  it("every file that defines one is in the list, under the family's name", () => {
    const files = readdirSync(sources).filter((file) => readFileSync(join(sources, file), "utf8").includes("= defineFamily("));
    const named = families.map(({ modelType }) => `${modelType.replaceAll("_", "-")}.ts`);
    assert.deepEqual(files.sort(), named.sort(), "src/model/families/index.ts lists the families that there are files of");
  });

  it("every golden is of one", () =>
    assert.deepEqual(goldensWithoutFamily, [], "in test/model/families/structure, of no family in src/model/families/index.ts"));

  it("no name means two families", () => {
    const names = families.flatMap(({ modelType, aliases }) => [modelType, ...aliases]);
    assert.equal(new Set(names).size, names.length);
  });

  for (const { modelType, aliases, forms, newConfig } of families) {
    it(`${modelType} has a golden, checkpoints on the disk, a published model and a row in docs/families.md`, () => {
      assert.ok(
        goldens.some(([, { config }]) => config["model_type"] === modelType),
        "no golden: a small model of it goes into scripts/goldens/structure.py",
      );
      assert.ok(
        smallModels().some(({ config }) => config["model_type"] === modelType),
        "no checkpoint: test/model/families/goldens.ts knows none of its forms",
      );
      assert.ok(
        Object.values(publishedModels).some(({ config }) => config.model_type === modelType),
        "no published model in test/model/families/published.ts",
      );
      const rows = table.filter((line) => line.startsWith(`| \`${modelType}\``));
      assert.equal(rows.length, 1, "one row in the table of docs/families.md");
      for (const name of [...aliases, ...forms]) assert.ok(rows[0]?.includes(name), `the row names ${name}`);
      assert.ok(rows[0]?.endsWith(newConfig === undefined ? "| sliced |" : "| computed |"), "the row says whether it is computed");
    });
  }

  it("the table of docs/families.md has a row of each and no other", () =>
    assert.equal(table.length, families.length, "docs/families.md does not have one row for each family"));

  it("a family that says how it is computed can be made, and the engine knows each of its tensors", () => {
    for (const { modelType, forms, newConfig } of families) {
      for (const [name, { config }] of goldens.filter(([, golden]) => golden.config["model_type"] === modelType)) {
        const architecture = readArchitecture(config);
        assert.equal(architecture.computation === undefined, newConfig === undefined, `${name}: computation and newConfig go together`);
        if (newConfig === undefined) continue;
        for (const form of forms.filter((one) => one !== "mxfp4")) {
          const unknown = listTensors({ ...architecture, form }).filter(({ part }) => part === undefined);
          assert.deepEqual(
            unknown.map(({ name: tensor }) => tensor),
            [],
            `${name}, ${form}: tensors without a part are passed over by the engine`,
          );
        }
      }
    }
  });
});
