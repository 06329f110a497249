import assert from "node:assert/strict";
import { shortestPhases } from "../../../src/protocol/task-defaults.ts";
import { evaluationNeeds } from "../../../src/steps/distribute/evaluation-needs.ts";
import { exampleTask } from "../../protocol/support.ts";

describe("what evaluation needs", () => {
  it("is all stages and open sequences of a submission, and every look of the gate", () => {
    assert.deepEqual(evaluationNeeds(exampleTask(), [2000, 2000]), {
      scoring: 2 * (128 + 8),
      // The base and two groups, then twice the base and four scales.
      gate: 2 * 128 * (1 + 2 + 2 * (1 + 4)),
      // Of three, two of which fetching may take.
      scoreBlocks: 1,
      ballotBlocks: 2,
    });
  });

  it("is the sequences of five beside, where own training is asked for", () => {
    const task = exampleTask({ evaluation: { leastTraining: { sequences: 500, drawn: 64 } } });
    assert.equal(evaluationNeeds(task, [2000, 2000]).scoring, 2 * (128 + 8) + 5 * 64);
  });

  it("is less where the data are few, and as much however short the phases are", () => {
    // 72 are of the pool, half of them for the gate; seven are open.
    const { scoring, gate } = evaluationNeeds(exampleTask(), [2000, 100]);
    assert.deepEqual([scoring, gate], [2 * 36 + 8 + 7, 2 * 36 * 13]);
    const short = evaluationNeeds(exampleTask({ cycle: { phases: shortestPhases } }), [2000, 100]);
    assert.deepEqual(short, { scoring, gate, scoreBlocks: 0, ballotBlocks: 0 });
  });
});
