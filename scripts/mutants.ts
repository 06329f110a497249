/**
 * The rules that `npm run mutate` breaks, one at a time. Each mutant is one edit of one source file: `find` stands there exactly once
 * and becomes `replace`. `tests` are the files of which at least one test must then fail.
 */

export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly tests: readonly string[];
  /** Runs only the tests whose title holds this: for files where many tests would otherwise wait in vain. */
  readonly title?: string | undefined;
}

type Edit = readonly [name: string, find: string, replace: string, title?: string];

/** Mutants of one source file, which share their tests. */
function mutantsOf(file: string, tests: readonly string[], ...edits: readonly Edit[]): Mutant[] {
  return edits.map(([name, find, replace, title]) => ({
    name,
    file: `src/${file}`,
    find,
    replace,
    tests: tests.map((path) => `test/${path}`),
    title,
  }));
}

const vectors = "protocol/vectors.test.ts";

export const mutants: readonly Mutant[] = [
  ...mutantsOf(
    "protocol/commitment.ts",
    ["protocol/commitment.test.ts", vectors],
    ["commitment: the hotkey is not bound", "    publicKeyOf(preimage.hotkey),\n", ""],
    ["ballot: the hotkey is not bound", "    publicKeyOf(ballot.hotkey),\n", ""],
    ["commitment: the base is not bound", "    hashToBytes(preimage.baseRoot),\n", ""],
  ),
  ...mutantsOf(
    "protocol/hash.ts",
    ["protocol/hash.test.ts", vectors],
    ["hash: fields are not separated by their lengths", "result.set(u32(part.length), offset);", ""],
  ),
  ...mutantsOf(
    "protocol/task.ts",
    ["protocol/task.test.ts"],
    ["task: Muon without its settings passes", 'inner.optimizer === "muon" && inner.muon === undefined', "false"],
    ["task: Muon's settings pass where AdamW is the optimizer", 'inner.optimizer === "adamw" && inner.muon !== undefined', "false"],
  ),
  ...mutantsOf(
    "model/byte-work.ts",
    ["model/slice.test.ts"],
    ["slice file: what an interrupted run left is believed unseen", 'if (hasher.digest("hex") !== unless) return false;', ""],
    ["slice file: what an interrupted run left is written again", "isThere(job, onBytes)", "false"],
  ),
  ...mutantsOf(
    "engine/update.ts",
    ["engine/muon.test.ts"],
    ["muon: the step is as long as the shorter side says", "Math.sqrt(Math.max(rows, columns))", "Math.sqrt(Math.min(rows, columns))"],
    ["muon: the clip is forgotten", "clipFactor(optimizer, at) * (1 - muon.momentum)", "at.scale * (1 - muon.momentum)"],
  ),
  ...mutantsOf(
    "engine/muon.ts",
    ["engine/muon.test.ts"],
    ["muon: an iteration forgets its fifth power", "alpha: c, beta: b", "alpha: 0, beta: b"],
    ["muon: Nesterov's step looks at the momentum only", "options.nesterov ? add", "!options.nesterov ? add"],
  ),
  ...mutantsOf(
    "protocol/merkle.ts",
    ["protocol/merkle.test.ts", vectors],
    ["Merkle: a node is hashed as a leaf", "nodePrefix = Uint8Array.of(1)", "nodePrefix = Uint8Array.of(0)"],
    ["Merkle: leaves have no prefix", "leafPrefix = Uint8Array.of(0)", "leafPrefix = new Uint8Array(0)"],
  ),
  ...mutantsOf(
    "protocol/artifact.ts",
    ["protocol/artifact.test.ts", vectors],
    ["artifact root: the length is not bound", "u64(total)", "u64(0)"],
  ),
  ...mutantsOf(
    "protocol/random.ts",
    ["protocol/random.test.ts", vectors],
    ["seed: assignment and evaluation share it", "utf8(purpose), ", ""],
    ["seed: every cycle has the same", "u32(cycle)", "u32(0)"],
    ["stream: big-endian words", "getUint32(4 * word, true)", "getUint32(4 * word, false)"],
    ["stream: biased integers are not rejected", "while (value >= limit) value = next();", ""],
    ["stream: a shuffle never leaves an index in its place", "uniform(last + 1)", "uniform(last)"],
  ),
  ...mutantsOf(
    "protocol/clock.ts",
    ["protocol/clock.test.ts"],
    ["clock: a window's last block is outside", "block <= window.last", "block < window.last"],
  ),
  ...mutantsOf(
    "protocol/experts/assignment.ts",
    ["protocol/experts/assignment.test.ts", vectors],
    ["assignment: a group takes more than its capacity", "free(previous) > 0", "free(previous) > -1"],
    ["assignment: spare places go by index alone", "b.count - a.count || ", ""],
    ["assignment: a record of a later cycle proves availability", " && last < cycle", ""],
  ),
  ...mutantsOf(
    "protocol/experts/grouping.ts",
    ["protocol/experts/group-experts.test.ts", vectors],
    ["grouping: groups of any sizes pass", "sizes.some((size) => size !== experts / groups)", "false"],
    ["grouping: another model's layers pass", "if (entry?.layer !== layer)", "if (entry === null)"],
  ),
  ...mutantsOf(
    "protocol/experts/group-experts.ts",
    ["protocol/experts/group-experts.test.ts"],
    ["grouping: an exchange forgets the weight between both", "2 * ((weights[i] as readonly number[])[j] as number)", "0"],
    [
      "grouping: the numbers of groups mean nothing across layers",
      "place === 0 ? firstComeFirst(groupOf, groups) : match(likeness)",
      "firstComeFirst(groupOf, groups)",
    ],
  ),
  ...mutantsOf(
    "protocol/experts/allot-bits.ts",
    ["protocol/experts/allot-bits.test.ts"],
    ["bits: a group's budget is not looked at", "other !== group && eighthsLeft < cost", "false"],
    ["bits: own experts count as lacking", "if (other !== group) left[other]", "left[other]"],
    ["bits: domains count by all their tokens together", "sum / Math.max(1, tokens)", "sum"],
  ),
  ...mutantsOf(
    "model/low-bits.ts",
    ["model/low-bits.test.ts"],
    ["low bits: rows do not fill whole bytes", "bytes.subarray(0, rows * rowBytes)", "bytes.subarray(0, rows * runs)"],
  ),
  ...mutantsOf(
    "kernels/low-bits.ts",
    ["kernels/low-bits.test.ts"],
    ["low bits: losses are not made up for", "feedback === undefined ? 0 : at", "0"],
    ["low bits: another feedback is still there", "if (feedback === loaded) return;", "if (loaded !== undefined) return;"],
  ),
  ...mutantsOf(
    "protocol/experts/esft.ts",
    ["protocol/experts/esft.test.ts", vectors],
    ["ESFT: the expert that crosses the threshold is left out", "taken >= threshold ||", "taken + score >= threshold ||"],
  ),
  ...mutantsOf(
    "protocol/token-data.ts",
    ["protocol/token-data.test.ts", vectors],
    ["data: big-endian tokens", "view.getUint16(2 * index, true)", "view.getUint16(2 * index, false)"],
    [
      "data: a sequence has no token to predict the last from",
      "(sequenceLength + 1) * tokenWidths[dtype]",
      "sequenceLength * tokenWidths[dtype]",
    ],
    ["data: tokens of another tokenizer pass", "data.tokenizer !== expected.tokenizer", "false"],
    ["data: shards of any sizes", "if (!fits)", "if (false)"],
  ),
  ...mutantsOf(
    "data/word-encoder.ts",
    ["data/tokenizer.test.ts"],
    ["data: a word's tokens are those that it has alone", "alone?.length !== 1 || alone[0] !== word", "false", "word by word"],
    ["data: special tokens that normalising makes", "normal !== text && !isPlain(normal)", "false", "word by word"],
  ),
  ...mutantsOf(
    "model/packed.ts",
    ["model/convert.test.ts"],
    ["MXFP4: the high four bits first", "fp4Values[byte & 0xf]", "fp4Values[byte >>> 4]", "reads"],
    ["FP8: one scale for all columns", "scales[block] as number", "scales[0] as number", "reads"],
  ),
  ...mutantsOf(
    "protocol/training-share.ts",
    ["protocol/training-share.test.ts", vectors],
    ["share: all miners of a group have the same", "(miner * data.sequences)", "(0 * data.sequences)"],
    ["share: the same in every cycle", "u32(cycle), u16(group)", "u32(0), u16(group)"],
    ["share: nothing where there is too little", "Math.max(begin + 1, ", "Math.max(begin, "],
    ["share: a shard's sequences from its begin", "first: first + from - at", "first"],
  ),
  ...mutantsOf(
    "protocol/verdict.ts",
    ["protocol/verdict.test.ts"],
    ["verdict: the last to commit owns a copied artifact", "compareCommits(commit, owner) < 0", "compareCommits(commit, owner) > 0"],
    ["verdict: a commitment owns a root without matching it", "reveal === undefined || !matches(commit, reveal)", "reveal === undefined"],
    ["verdict: the commitment is not compared", " && commit.record.commitment === commitmentHash(preimage)", ""],
    ["verdict: a record counts outside its window", " || !inWindow(window, entry.block)", ""],
  ),
  ...mutantsOf(
    "protocol/evaluation.ts",
    ["protocol/evaluation.test.ts", vectors],
    [
      "score: the mean, without confidence",
      "lower: mean - (studentQuantile(error, count - 1) * deviation) / Math.sqrt(count)",
      "lower: mean",
    ],
    ["score: the deviation of a population", "squares / (count - 1)", "squares / count"],
    ["score: no minimum", "score >= minimumScore ? accepted : refused", "score >= 0 ? accepted : refused"],
    ["stages: each has the whole error", "errorRate / stages", "errorRate"],
    ["stages: a score is final while it is unclear how large", " && 2 * lower >= mean", ""],
    ["stages: given up for a bound, not the mean", "1e6 * mean < minimumScore", "1e6 * lower < minimumScore"],
  ),
  ...mutantsOf(
    "protocol/held-out.ts",
    ["protocol/held-out.test.ts", vectors],
    ["held-out: what the owner watches is drawn from", 'place < watchPlaces ? "watch"', 'place < 0 ? "watch"'],
    [
      "held-out: scored by what the gate judges",
      "places.slice(budget + from, budget + to)",
      "places.slice(Math.max(0, from), Math.max(budget, to))",
    ],
  ),
  ...mutantsOf(
    "protocol/scorers.ts",
    ["protocol/scorers.test.ts", vectors],
    ["scorers: every validator has the same chance", "stake: stake > 0n ? stake : 1n", "stake: 1n"],
    ["scorers: every group has the same", "u16(group)", "u16(0)"],
    ["scorers: one is drawn twice", "left.splice(drawOne(random, left), 1)", "left.slice(drawOne(random, left))"],
  ),
  ...mutantsOf(
    "protocol/copies.ts",
    ["protocol/copies.test.ts", vectors],
    ["copies: only the nearest source", "maximumSources = 3", "maximumSources = 1"],
    ["copies: coordinates that everybody knows", '"connito/sketch/1", hashToBytes(seed), ', '"connito/sketch/1", '],
    ["copies: noise makes copies of honest work that is alike", " && hasSay(scores[index] as number, scores[place] as number)", ""],
    ["copies: noise that gains a little has a say", "score > 0 && 4 * score >= own", "score > 0"],
    ["copies: a quarter is too little", "4 * score >= own", "4 * score > own"],
    ["copies: who gains nothing has a say", "score > 0 && 4 * score", "4 * score"],
    ["copies: a copy as soon as usual", "Math.max(1 / 4, (5 / 8) * rest)", "1"],
    ["copies: noise hides what a submission holds", "holds(1, held.one) || ", ""],
    ["copies: noise hides a mixture", "holds(2, held.two)", "false"],
    ["copies: a copy of a copy hides it", "index < place || size(index) < nearest", "true"],
    ["copies: copies move what is usual", "Math.min(most, Math.max(", "Math.min(1, Math.max("],
    ["copies: a few short trainings make the long ones suspect", "(3 * pairs.length - 1) >> 2", "(pairs.length - 1) >> 1"],
    ["copies: what noise adds among few is paid", "effect < least.effect && ", "false && "],
    ["copies: what a large model learns is noise", "effect < least.ofRandom * random", "true"],
    ["copies: what signs add is measured", "share > 0 && !sparse", "share > 0"],
    ["copies: a long rest does more", " / 2 / Math.sqrt(1 - share ** 2)", " / 2"],
    ["copies: signs that everybody knows", '"connito/signs/1", hashToBytes(seed), ', '"connito/signs/1", '],
    ["copies: a run of places ends with the deltas", "done < length; start = 0", "done === 0; start = 0"],
  ),
  ...mutantsOf(
    "protocol/aggregate.ts",
    ["protocol/aggregate.test.ts", vectors],
    ["aggregate: norms are not capped", "shortened(norms, cap * median(norms))", "shortened(norms, Number.POSITIVE_INFINITY)"],
    ["aggregate: nothing is trimmed", "middleMean(values, suspects)", "middleMean(values, 0)"],
    ["aggregate: Krum takes everybody", ".slice(0, indices.length - suspects)", ""],
    ["aggregate: nobody is clipped", "shortened(distances, median(distances))", "shortened(distances, Number.POSITIVE_INFINITY)"],
    ["aggregate: one lane", "lanes[i & 3] = (lanes[i & 3] as number)", "lanes[0] = (lanes[0] as number)"],
  ),
  ...mutantsOf(
    "protocol/group-result.ts",
    ["protocol/group-result.test.ts"],
    ["group result: the silent do not count", "2n * behind > stakeOf(scorers)", "2n * behind > 0n"],
    ["group result: who says otherwise does not count", "said.some((result) => !sameOutcome(result, first))", "false"],
  ),
  ...mutantsOf(
    "protocol/standing.ts",
    ["protocol/standing.test.ts"],
    ["standing: only payment is compared", "Math.abs(own.score - agreed.score) > alike * agreed.score", "false"],
  ),
  ...mutantsOf(
    "protocol/agreement.ts",
    ["protocol/agreement.test.ts", vectors],
    ["agreement: the upper median", "2n * soFar >= total", "2n * soFar > total"],
    ["agreement: every validator has one vote", "soFar += stake;", "soFar += total / BigInt(counted.length);"],
    ["agreement: unscored counts as 0", 'entry.status !== "unscored"', "true"],
    ["agreement: nothing is disputed", "!areCompatible(one.entry, other.entry)", "false"],
    ["agreement: stake outweighs what was measured", "areCompatible(entry, own)", "true"],
    ["agreement: scores that differ by half are a dispute", "2 * Math.min(a.score, b.score)", "1.5 * Math.min(a.score, b.score)"],
    ["vote: half of the stake is a majority", "2n * stake > stakeOf(claims)", "2n * stake >= stakeOf(claims)"],
    ["vote: one reporter decides for many", "2n * reporting >= active ?", "true ?"],
    ["vote: a root need not be proved", "claim.proven && claim.cycle === cycle", "claim.cycle === cycle"],
    ["vote: who went away for good still counts", "claim.cycle >= cycle - missedCycles", "claim.cycle >= 0"],
    ["merge order: the worst first", "b.score - a.score ||", "a.score - b.score ||"],
    [
      "merge order: the later commit first",
      "compareCommits(placeOf(a.miner), placeOf(b.miner))",
      "compareCommits(placeOf(b.miner), placeOf(a.miner))",
    ],
    ["merge order: no limit to contributors", ".slice(0, input.contributors)", ""],
  ),
  ...mutantsOf(
    "protocol/outer-step.ts",
    ["protocol/outer-step.test.ts", vectors],
    ["outer step: deltas are added from the right", "const [first, ...rest] = deltas;", "const [first, ...rest] = [...deltas].reverse();"],
    ["outer step: rounded once, not after each operation", "fround(rate * fround(g + fround(mu * v)))", "rate * (g + mu * v)"],
    ["outer step: plain momentum, not Nesterov's", "fround(g + fround(mu * v))", "v"],
  ),
  ...mutantsOf(
    "protocol/gate.ts",
    ["protocol/gate.test.ts", vectors],
    ["gate: a domain may get worse", "raisesNone ? scoreOf(", "true ? scoreOf("],
    ["gate: the mean decides, not the bound", "errorRate).lower", "errorRate).mean"],
    ["gate: the first contributor is dropped, not the last", "contributors.slice(0, -1)", "contributors.slice(1)"],
    ["gate: of equal scales the later", "gains.indexOf(largest)", "gains.lastIndexOf(largest)"],
    ["gate: an old momentum keeps everything out", "restingPlace === undefined ?", "true ?"],
    [
      "gate: the best step from rest wins always",
      "if (place !== undefined) return",
      "if (restingPlace === undefined && place !== undefined) return",
    ],
  ),
  ...mutantsOf(
    "steps/evaluate/merge-groups.ts",
    ["steps/evaluate/merge-groups.test.ts"],
    ["gate: groups are tried at the largest scale", "Math.min(...task.merge.scales)", "Math.max(...task.merge.scales)"],
    ["gate: contributors are carried by the momentum", "const fromRest = { task, momentum: nothing };", "const fromRest = search;"],
    ["gate: a step from rest has the old momentum", "chosen.fromRest ? nothing : search.momentum", "search.momentum"],
    ["gate: where the momentum goes wrong nothing is tried", "await tryFrom(nothing)", "await tryFrom(search.momentum)"],
    ["step: momentum is forgotten", "await momentum.read(name, before)", "before.fill(0)"],
  ),
  ...mutantsOf(
    "steps/evaluate/aggregate.ts",
    ["steps/evaluate/aggregate.test.ts"],
    ["gradient: norms are those of the last tensor", "sums[index] = (sums[index] as number) + value", "sums[index] = value"],
    ["gradient: nobody is shortened", "if (factor === 1) return { sizes, read };", "if (factor !== 0) return { sizes, read };"],
    ["gradient: the upper median", "(count - 1) >> 1", "count >> 1"],
  ),
  ...mutantsOf(
    "steps/evaluate/proof-of-loss.ts",
    ["steps/evaluate/proof-of-loss.test.ts"],
    ["Proof-of-Loss: open sequences are paid for", "losses.subarray(0, stage.length)", "losses"],
    ["Proof-of-Loss: everybody is measured on every stage", "filter(({ judgement }) => judgement === undefined);", "filter(() => true);"],
  ),
  ...mutantsOf(
    "steps/evaluate/evidence.ts",
    ["steps/evaluate/evidence.test.ts"],
    ["evidence: a score without losses is founded", "return follows(entry, judged) ? [] : [entry.miner];", "return [];"],
  ),
  ...mutantsOf(
    "protocol/weights.ts",
    ["protocol/weights.test.ts", vectors],
    ["weights: a cycle before the window counts", "entry.cycle <= cycle - window", "entry.cycle < cycle - window"],
    ["weights: the first cycle is believed at once", "BigInt(2 * cycles + window)", "BigInt(2 * cycles)"],
    ["weights: absent cycles do not count", "Math.min(first, entry.cycle)", "entry.cycle"],
  ),
  ...mutantsOf(
    "protocol/request.ts",
    ["protocol/request.test.ts", vectors],
    ["request: signed for whatever server", "      publicKeyOf(request.receiver),\n", ""],
  ),
  ...mutantsOf(
    "protocol/session.ts",
    ["protocol/session.test.ts", vectors],
    ["session: its key does not bind the receiver", "      publicKeyOf(receiver),\n", ""],
    ["session: a proof serves for any range", 'utf8(range ?? ""), ', ""],
    ["session: a proof serves twice", ", u64(count)", ""],
  ),
  ...mutantsOf(
    "exchange/sessions.ts",
    ["exchange/server.test.ts"],
    ["session: a count that was seen passes", " || session.seen[place] === number", ""],
    ["session: a count below the window passes", "number <= session.highest - countWindow || ", ""],
  ),
  ...mutantsOf(
    "model/submission.ts",
    ["model/submission.test.ts"],
    ["submission: its metadata is not checked", "    checkMetadata(found, metadataStrings(expected.metadata, codec.name));\n", ""],
    ["submission: NaN passes", "      if (!allFinite(delta)) throw nonFinite(name);\n", ""],
    ["submission: any size passes", "file.size > expected.maximumBytes", "false"],
  ),
  ...mutantsOf(
    "protocol/places.ts",
    [vectors],
    ["places: all of a tensor's lie at the same distance", "Math.imul(i, 0x9e3779b9)", "0"],
    ["places: a group's are another's", "u16(group)", "u16(0)"],
    ["places: the last may lie behind the tensor", "Math.min(placeStride, elements - first)", "placeStride"],
  ),
  ...mutantsOf(
    "model/codecs/signs.ts",
    ["model/codecs/codecs.test.ts", vectors],
    ["signs: a negative scale passes", "(encoded[at + 1] as number) >= 0x80", "false"],
    ["signs: bits may stand behind the end", "places % 8 !== 0 && (", "false && ("],
    ["signs: bytes of any length are taken", "encoded.length !== bytesOfPlaces(places)", "false"],
    ["signs: the scale is the sum", "sum / (last - first)", "sum"],
  ),
  ...mutantsOf(
    "exchange/fetch-object.ts",
    ["exchange/fetch-object.test.ts"],
    ["fetch: what came is not verified", "return hasher.digest() === hash;", "return true;"],
    ["fetch: what lies there is not verified", "hasher.digest() === hash ? length : undefined", "length"],
    ["fetch: a peer is blamed for another's bytes", "partial.contributors.size === 1 && ", ""],
  ),
  ...mutantsOf(
    "workspace/journal.ts",
    ["workspace/journal.test.ts"],
    ["journal: checksums are not compared", "  if (checksum !== match[1]) return undefined;\n", ""],
    ["journal: the intent is forgotten with the effect", "{ ...states.get(entry.key), [entry.kind]: entry }", "{ [entry.kind]: entry }"],
    ["journal: a new intent keeps the old outcome", "{ intent: entry }", "{ ...states.get(entry.key), intent: entry }"],
    ["journal: a torn end is not cut off", "    if (length !== size) await handle.truncate(length);\n", ""],
    ["journal: confirmed before it is on the disk", "      await handle.datasync();\n", ""],
  ),
  ...mutantsOf(
    "steps/send-record.ts",
    ["steps/send-record.test.ts"],
    ["sending: what stands on the chain is sent again", "  if (done !== undefined) return { block: done.block, alreadyDone: true };\n", ""],
    ["sending: after a crash another record is made", "if (intended !== undefined) {", "if (intended === null) {"],
    ["sending: sent before it is in the journal", "    await journal.intent(key, { ...prepared.notes, record: toHex(record) });\n", ""],
    ["sending: the effect is not noted", "  await journal.effect(key, { block });\n", ""],
  ),
  ...mutantsOf(
    "workspace/lock.ts",
    ["workspace/lock.test.ts"],
    ["lock: a living owner's lock is taken over", "if (await isAlive(last)) throw locked(path, last);", "", "is free again after release"],
    ["lock: a dead owner's lock is never taken over", "  if (!exists(owner.pid)) return false;\n", "", "taken over at once"],
    ["lock: a reused process id is the owner", "return started === owner.started;", "return true;", "a reused process id"],
    [
      "lock: taken over without looking again",
      "if (now?.content === dead.content) return await rename(own, path);",
      "return await rename(own, path);",
      "gives way when another",
    ],
  ),
];
