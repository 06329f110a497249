import assert from "node:assert/strict";
import { describeModel } from "../../src/model/describe.ts";
import { failure, tiny } from "./support.ts";

describe("describe model", () => {
  it("adds up, in parameters and in bytes", () => {
    const { parameters, bytes, slice } = describeModel(tiny, 2, "F32");
    // Two layers of four experts with three matrices of 10 by 12.
    assert.equal(parameters.expert, 3 * 120);
    assert.equal(parameters.routed, 8 * 360);
    const attention = 12 * 12 + 2 * 6 * 12 + 12 * 12 + 2 * 6;
    assert.equal(parameters.backbone, 2 * 260 * 12 + 12 + 2 * (attention + 2 * 12 + 4 * 12));
    assert.equal(parameters.active, parameters.backbone + 2 * 2 * 360);
    assert.equal(bytes.total, 4 * parameters.total);
    assert.equal(slice.expertsPerLayer, 2);
    assert.equal(slice.experts, bytes.routed / 2);
    // A row of 12 takes 6 bytes and a scale, one of 10 takes 5 and a scale.
    assert.equal(slice.standIns, 4 * (2 * 10 * 8 + 12 * 7));
    assert.equal(slice.total, slice.backbone + slice.experts + slice.standIns);
  });

  it("counts the largest group where groups do not divide, and nothing missing in one group", () => {
    assert.equal(describeModel(tiny, 3).slice.expertsPerLayer, 2);
    assert.equal(describeModel(tiny, 1).slice.standIns, 0);
    assert.equal(describeModel(tiny, 4).slice.trained, describeModel(tiny, 4).bytes.backbone + describeModel(tiny, 4).bytes.routed / 4);
  });

  it("refuses groups that cannot be", () => {
    for (const groups of [0, -1, 5, 1.5, Number.NaN]) assert.throws(() => describeModel(tiny, groups), failure("groups-invalid"));
  });
});
