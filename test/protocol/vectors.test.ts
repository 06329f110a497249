/**
 * The golden vectors hold the protocol in place: each is checked against the sources and against the second implementation, which
 * knows only the text. Changing a rule means changing docs/protocol.md, both implementations and the vectors.
 */
import assert from "node:assert/strict";
import { makeVectors, readVectors } from "../../scripts/make-vectors.ts";
import { codecNamed } from "../../src/model/codecs/index.ts";
import { submissionPlaces } from "../../src/model/submission.ts";
import type { Likeness } from "../../src/protocol/copies.ts";
import { averageDeltas } from "../../src/protocol/outer-step.ts";
import { decodeRecord } from "../../src/protocol/records.ts";
import { parseTask } from "../../src/protocol/task.ts";
import * as second from "./vectors/second.ts";

const hex = (text: string) => Buffer.from(text, "hex");
const sha256 = (bytes: Buffer) => second.secondDigest(bytes);
const bitsOf = (values: readonly string[]) => values.map((value) => hex(value).readFloatBE(0));
const toBits = (values: readonly number[]) =>
  values.map((value) => {
    const buffer = Buffer.alloc(4);
    buffer.writeFloatBE(value);
    return buffer.toString("hex");
  });

describe("golden vectors", () => {
  for (const [file, made] of Object.entries(makeVectors())) {
    it(`are what the sources give (${file})`, () => {
      assert.deepEqual(readVectors(file as keyof ReturnType<typeof makeVectors>), JSON.parse(JSON.stringify(made)));
    });
  }
});

describe("golden vectors, from the text alone", () => {
  it("hashes", () => {
    const { fields, merkle, artifacts, document, task, muonTask } = readVectors("hashes.json");
    for (const { domain, parts, bytes, hash } of fields) {
      assert.equal(second.secondFields(domain, parts.map(hex)).toString("hex"), bytes);
      assert.equal(sha256(hex(bytes)), hash);
    }
    for (const [count, root] of merkle.roots.entries()) assert.equal(second.secondMerkleRoot(merkle.leaves.slice(0, count).map(hex)), root);
    for (const { length, root } of artifacts) {
      assert.equal(second.secondArtifactRoot(Uint8Array.from({ length }, (_, index) => index % 251)), root);
    }
    assert.equal(second.secondCanonical(document.document), document.canonical);
    assert.equal(sha256(Buffer.from(document.canonical, "utf8")), document.hash);
    for (const one of [task, muonTask]) {
      assert.equal(second.secondDocumentHash(one.document), one.hash);
      assert.deepEqual(parseTask(one.document), one.document);
    }
  });

  it("randomness", () => {
    const { seeds, stream, draws } = readVectors("randomness.json");
    for (const { purpose, taskHash, cycle, blockHash, seed } of seeds) {
      assert.equal(second.secondSeed(purpose, taskHash, cycle, blockHash), seed);
    }
    const random = second.secondStream(stream.seed);
    assert.deepEqual(stream.bounds.map(random.uniform), stream.values);
    for (const { seed, k, n, drawn } of draws) assert.deepEqual(second.secondStream(seed).draw(k, n), drawn);
  });

  it("deltas of signs", () => {
    const { cases, refused } = readVectors("signs.json");
    for (const { of, elements, encoded, set } of cases) {
      const places = second.secondSignPlaces(of, elements);
      const decoded = second.secondSigns(hex(encoded), places, elements);
      assert.deepEqual(
        [...(decoded ?? [])].flatMap((value, index) => (value === 0 ? [] : [[index, value]])),
        set,
      );
      const named = [{ name: of.name, shape: [elements] }];
      assert.deepEqual([...(submissionPlaces("signs-10", of, named)?.get(of.name) ?? [])], places);
    }
    for (const encoded of refused.encoded) {
      const places = second.secondSignPlaces({ task: "", cycle: 0, group: 0, name: "" }, refused.elements);
      assert.equal(second.secondSigns(hex(encoded), places, refused.elements), undefined, encoded);
      assert.throws(() => codecNamed("signs-10").decode([hex(encoded)], refused.elements, 0), RangeError, encoded);
    }
  });

  it("commitments, records, requests and sessions", () => {
    const { commitments, ballot, records, requests, sessions } = readVectors("commit.json");
    assert.equal(second.secondBallot(ballot.version), ballot.ballot);
    for (const { preimage, commitment } of commitments) assert.equal(second.secondCommitment(preimage), commitment);
    for (const { record, bytes } of records) {
      assert.equal(second.secondRecord({ ...record }), bytes);
      assert.deepEqual(decodeRecord(hex(bytes)), record);
    }
    for (const { request, message } of requests) assert.equal(second.secondRequest(request), message);
    for (const { key, proofs, ...parties } of sessions) {
      assert.equal(second.secondSessionKey(parties), key);
      for (const { request, proof } of proofs) assert.equal(second.secondProof(key, request), proof);
    }
  });

  it("experts", () => {
    const { assignment, selections, grouping } = readVectors("experts.json");
    assert.equal(second.secondDocumentHash(grouping.document), grouping.hash);
    const named = grouping.document.layers.map(({ layer, groupOf }) => ({ layer, experts: groupOf.length, groupOf }));
    assert.deepEqual(
      [0, 1, 2].map((group) => second.secondGroup(named, group, 3)),
      grouping.groups,
    );
    assert.deepEqual(
      [0, 1, 2].map((group) => second.secondGroup(grouping.layout.layers, group, 3)),
      grouping.even,
    );
    const clock = { missedCycles: 2, startBlock: 7_000_001, cycleLength: 45 };
    assert.deepEqual(second.secondAssignment({ ...assignment.input, ...clock }), assignment.groups);
    assert.deepEqual(
      [...assignment.groups.flat(), ...assignment.unavailable].sort(),
      assignment.input.miners.map(({ hotkey }) => hotkey).sort(),
    );
    for (const { scores, candidates, threshold, selected } of selections) {
      assert.deepEqual(second.secondSelection(scores, candidates, threshold), selected);
    }
  });

  it("data", () => {
    const { cases, shares } = readVectors("data.json");
    for (const { sizes, trained, ...place } of shares) assert.deepEqual(second.secondShares(sizes, place), trained);
    for (const { document, hash, shards, shardBytes, sequences } of cases) {
      assert.equal(second.secondDocumentHash(document), hash);
      const bytes = shards.map(hex);
      assert.deepEqual(
        bytes.map(sha256),
        document.shards.map((shard) => shard.hash),
      );
      assert.deepEqual(
        bytes.map(({ length }) => length),
        shardBytes,
      );
      assert.deepEqual(second.secondSequences(document, bytes), sequences);
    }
  });

  it("evaluation", () => {
    const { draw, scorers, scores, gate, steps } = readVectors("evaluation.json");
    const { stages, gate: judged } = second.secondDraw({ ...draw, first: 6, stages: 3 });
    assert.deepEqual([stages, judged, second.secondOpenDraw(draw.seed, draw.available)], [draw.stages, draw.gate, draw.open]);
    for (const { numbers, drawn, possible } of draw.numbers)
      assert.deepEqual([drawn, possible], [second.secondNumbers(numbers, draw.available), second.secondNumbers(numbers)]);
    const validators = scorers.validators.map(({ hotkey, stake }) => ({ hotkey, stake: BigInt(stake) }));
    for (const { count, groups } of scorers.drawn) {
      for (const [group, drawn] of groups.entries()) assert.deepEqual(second.secondScorers(scorers.seed, group, validators, count), drawn);
    }
    for (const { baseLosses, candidateLosses, stage, stages: numbers, judgement } of scores) {
      const expected = second.secondJudgement(baseLosses, candidateLosses, stage, numbers, 0.01);
      assert.equal(judgement?.status, expected?.status);
      assert.ok(Math.abs((expected?.score ?? 0) - (judgement?.score ?? 0)) <= 1, `${expected?.score} is not ${judgement?.score}`);
    }
    const assessed = gate.candidates.map((losses) => second.secondAssessment(gate.baseLosses, losses, 0.2));
    for (const [at, { losses, gain }] of gate.tried.entries()) {
      assert.deepEqual(assessed[at]?.losses, losses);
      assert.ok(Math.abs((assessed[at]?.gain as number) - gain) <= 1, `${assessed[at]?.gain} is not ${gain}`);
    }
    const best = Math.max(...assessed.map(({ gain }) => gain));
    assert.equal(gate.chosen, best > 0 ? assessed.findIndex(({ gain }) => gain === best) : null);
    for (const { moving, resting, chosen } of steps) assert.deepEqual(second.secondStep(moving, resting), chosen);
  });

  it("copies", () => {
    const { places, runs, groups, effects, signs } = readVectors("copies.json");
    for (const { seed, group, elements, kept, runs: count, length, first } of places) {
      assert.deepEqual(second.secondPlaces(seed, group, elements, 12), first);
      assert.deepEqual([count, length], kept === null ? [16_384, 1] : [Math.ceil(16_384 / kept), 4_096]);
    }
    const flat = runs.tensors.flat();
    const all = runs.starts.flatMap((start) => Array.from({ length: runs.length }, (_, i) => flat[(start + i) % runs.elements] as number));
    assert.deepEqual(
      runs.sketch,
      all.flatMap((value, at) => (value === 0 ? [] : [[at, value]])),
    );
    for (const { title, deltas, scores, strengths, ...said } of groups)
      for (const sparse of [false, true])
        for (const place of deltas.keys()) {
          const { share, usual, weight, parts, ...exact } = said[sparse ? "sparse" : "dense"][place] as Likeness;
          const {
            share: secondShare,
            usual: secondUsual,
            weight: secondWeight,
            parts: secondParts,
            ...expected
          } = second.secondLikeness(deltas, place, sparse, { scores, strengths });
          assert.deepEqual(exact, expected, `${title} ${place}`);
          for (const [a, b] of [
            [share, secondShare],
            [usual, secondUsual],
            [weight ?? 0, secondWeight ?? 0],
            ...parts.map((part, at) => [part, secondParts[at] as number] as const),
          ] as const)
            assert.ok(Math.abs(a - b) < 1e-6, `${title} ${place}: ${a} ${b}`);
        }
    for (const { share, effect, random, noise, losses } of effects) {
      const found = second.secondEffects(losses, share);
      assert.ok(Math.abs(effect - found.effect) < 1e-9 && Math.abs(random - found.random) < 1e-9);
      assert.equal(noise, effect < 0.75 && effect < 2 * random);
    }
    for (const { first, ...of } of signs) assert.deepEqual(first, second.secondRandomSigns(of, first.length));
  });

  it("own training", () => {
    const { walks, turns, blocks, groups } = readVectors("own-training.json");
    for (const { taskHash, cycle, miner, seed, runs, places } of walks) {
      assert.equal(second.secondWalkSeed(taskHash, cycle, miner), seed);
      const numbers = runs.map((domain) => domain.map(({ first, sequences }) => Array.from({ length: sequences }, (_, at) => first + at)));
      for (const { place, at } of places) {
        const [domain, shard, index] = at as [number, number, number];
        assert.deepEqual(second.secondWalk(numbers, seed, place), [domain, index]);
        const run = runs[domain]?.findIndex((_, which) => numbers[domain]?.[which]?.includes(index)) as number;
        assert.equal(runs[domain]?.[run]?.shard, shard);
      }
    }
    for (const { turns: drawn, places, first, second: others, available, ...of } of turns)
      assert.deepEqual(second.secondTurns(of, available), { turns: drawn, places, first, second: others });
    for (const [members, sizes] of blocks.entries()) assert.deepEqual(second.secondBlocks(members), sizes);
    for (const { title, blocks: measured, again, little } of groups) {
      const found = measured.map(second.secondOwnEffects);
      assert.deepEqual(second.secondGoesOn(found), again, title);
      assert.deepEqual(second.secondNotTrained(found.flat()), little, title);
      for (const [block, { effects }] of measured.entries())
        for (const [member, [effect, error]] of effects.entries()) {
          const expected = found[block]?.[member];
          // What is known of one whose error is not a number says nothing.
          if (expected === undefined) assert.ok(effect === null || error === null, title);
          else
            for (const [a, b] of [
              [effect, expected.effect],
              [error, expected.error],
            ])
              assert.ok(Math.abs((a as number) - (b as number)) < 1e-9, title);
        }
    }
  });

  it("merge: aggregates", () => {
    const { contributors, aggregates } = readVectors("merge.json");
    for (const { count, rule, gradient } of aggregates) {
      const deltas = contributors.slice(0, count).map(({ delta }) => bitsOf(delta));
      assert.deepEqual(toBits(second.secondAggregate(deltas, [5, 7], rule)), gradient.flat(), `${rule.method} of ${count}`);
    }
  });

  it("merge: order and every bit of the step", () => {
    const { contributors, base, momentum, options, order, gradient, step, firstStep } = readVectors("merge.json");
    const rows = [...contributors]
      .sort((a, b) => b.score - a.score || a.block - b.block || a.extrinsicIndex - b.extrinsicIndex)
      .slice(0, 4);
    assert.deepEqual(
      rows.map(({ hotkey }) => hotkey),
      order,
    );
    const deltas = rows.map(({ delta }) => bitsOf(delta));
    const run = (before: readonly number[]) => {
      const elements = bitsOf(base).map((value, i) => {
        const { learningRate: lr, mu, scale } = options;
        const own = deltas.map((delta) => delta[i] as number);
        return second.secondOuterStep({ base: value, momentum: before[i] as number, deltas: own, lr, mu, scale });
      });
      return { weights: toBits(elements.map(({ weight }) => weight)), momentum: toBits(elements.map((element) => element.momentum)) };
    };
    assert.deepEqual(run(bitsOf(momentum)), step);
    assert.deepEqual(run(base.map(() => 0)), firstStep);
    // From nothing, and with nothing kept, the momentum is the gradient.
    assert.deepEqual(firstStep.momentum, gradient);
  });

  it("merge: its deltas show in the bits when they are added in another order", () => {
    const { contributors, order, gradient } = readVectors("merge.json");
    const delta = (hotkey: string) => Float32Array.from(bitsOf(contributors.find((entry) => entry.hotkey === hotkey)?.delta ?? []));
    const sums = new Set<string>();
    for (let first = 0; first < order.length; first++) {
      const rest = order.filter((_, index) => index !== first);
      for (let turn = 0; turn < rest.length; turn++) {
        const another = [order[first] as string, ...rest.slice(turn), ...rest.slice(0, turn)];
        if (another.slice(2).join() !== order.slice(2).join()) sums.add(toBits([...averageDeltas(another.map(delta))]).join());
      }
    }
    assert.ok(sums.size > 3);
    // Adding is symmetric, so only the order of the first two does not matter.
    assert.equal([...sums].filter((sum) => sum === gradient.join()).length, 0);
  });

  it("agreement", () => {
    const { reports, agreed, chain, disputes, votes, weights } = readVectors("agreement.json");
    for (const { chain: known, said, held } of chain)
      assert.deepEqual(second.secondHeld(known, said), held, JSON.stringify({ known, said }));
    for (const { said, measured, ...found } of disputes) assert.deepEqual(found, second.secondDispute(said, measured));
    for (const { report, message } of reports) assert.equal(second.secondReportMessage(report), message);
    for (const { miner, score } of agreed) {
      const said = reports.flatMap(({ stake, report }) =>
        report.entries
          .filter((entry) => entry.miner === miner && entry.status !== "unscored")
          .map((entry) => ({ stake: BigInt(stake), score: entry.score })),
      );
      assert.equal(second.secondMedian(said), score);
    }
    for (const { claims, canonical } of votes) {
      const expected = second.secondVote(
        claims.map((claim) => ({ ...claim, stake: BigInt(claim.stake) })),
        5,
        2,
      );
      assert.equal(canonical?.root ?? null, expected);
    }
    const miners = agreed.map(({ miner }) => miner);
    for (const { window, weights: given } of weights.windows) {
      const expected = second.secondWeights(weights.history, window, 4, miners).map((weight, index) => ({ uid: 10 + index, weight }));
      assert.deepEqual(
        given,
        expected.filter(({ weight }) => weight > 0),
      );
    }
  });
});
