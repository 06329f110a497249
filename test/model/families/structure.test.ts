/** The families' lists of tensors against what transformers wrote for a small model of each (scripts/goldens/structure.py). */
import assert from "node:assert/strict";
import { families, familyNamed, listTensors, readArchitecture } from "../../../src/model/families/index.ts";
import { goldens } from "./goldens.ts";

describe("structure of the families", () => {
  for (const [name, golden] of goldens) {
    for (const saved of ["tensors", "inMemory"] as const) {
      const tensors = golden[saved];
      if (tensors === undefined) continue;
      it(`${name}: lists what transformers ${golden.transformers} saves${saved === "tensors" ? "" : " in its layout in memory"}`, () => {
        const architecture = readArchitecture(golden.config, new Set(Object.keys(tensors)));
        const family = familyNamed(architecture.family);
        const { carried } = family.unlisted(architecture);
        const expected = Object.entries(tensors).filter(([tensor]) => !carried.some((prefix) => tensor.startsWith(prefix)));
        const listed = listTensors(architecture).map((spec): [string, readonly number[]] => [spec.name, spec.shape]);
        assert.deepEqual(new Map(listed.toSorted()), new Map(expected.toSorted()));
        assert.equal(listed.length, expected.length, "a tensor is listed twice");
        if (saved === "inMemory") assert.equal(architecture.form, "fused");
      });
    }
  }

  it("has a golden of every family and of every form, but for those that transformers cannot write", () => {
    const seen = new Set(
      goldens.flatMap(([, { config, tensors, inMemory }]) =>
        [tensors, inMemory]
          .filter((one) => one !== undefined)
          .map((one) => {
            const { family, form } = readArchitecture(config, new Set(Object.keys(one)));
            return `${family} ${form}`;
          }),
      ),
    );
    const all = families.flatMap(({ modelType, forms }) => forms.map((form) => `${modelType} ${form}`));
    // Packing in MXFP4 wants a GPU.
    assert.deepEqual(
      all.filter((one) => !seen.has(one)),
      ["gpt_oss mxfp4"],
    );
  });
});
