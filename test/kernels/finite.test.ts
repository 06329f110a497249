import assert from "node:assert/strict";
import { allFinite } from "../../src/kernels/finite.ts";

describe("allFinite", () => {
  it("finds the one value that is not, wherever it stands", () => {
    for (const length of [1, 4, 7, 16_384, 16_391]) {
      const values = Float32Array.from({ length }, (_, index) => (index % 2 === 0 ? 3.4028234e38 : -1e-45));
      assert.ok(allFinite(values));
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        for (const place of [0, length >> 1, length - 1]) {
          const changed = Float32Array.from(values);
          changed[place] = bad;
          assert.ok(!allFinite(changed), `${bad} at ${place} of ${length}`);
        }
      }
    }
    assert.ok(allFinite(new Float32Array(0)));
  });
});
