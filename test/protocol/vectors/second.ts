/**
 * The rules a second time, written from docs/protocol.md and from nothing in src/: slow, direct, with other means (recursion, BigInt,
 * generators). The golden vectors are checked against both, so that a wrong rule cannot be regenerated into them unnoticed. Keep this
 * file free of imports from src/.
 */
import { createHash } from "node:crypto";

const h = (...parts: Buffer[]): Buffer => createHash("sha256").update(Buffer.concat(parts)).digest();
const hex = (text: string): Buffer => Buffer.from(text, "hex");

export function little(value: number | bigint, bytes: number): Buffer {
  let rest = BigInt(value);
  return Buffer.from(
    Array.from({ length: bytes }, () => {
      const byte = Number(rest % 256n);
      rest /= 256n;
      return byte;
    }),
  );
}

export function secondFields(domain: string, parts: Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(domain, "utf8"), ...parts].flatMap((part) => [little(part.length, 4), part]));
}

const H = (domain: string, ...parts: Buffer[]): string => h(secondFields(domain, parts)).toString("hex");

/** Base58 by long division of digits, without the checksum: the public key of an address known to be good. */
export function secondPublicKey(address: string): Buffer {
  const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  const bytes: number[] = [];
  for (const character of address) {
    let carry = digits.indexOf(character);
    for (let i = 0; i < bytes.length; i++) {
      carry += 58 * (bytes[i] as number);
      bytes[i] = carry & 255;
      carry >>= 8;
    }
    for (; carry > 0; carry >>= 8) bytes.push(carry & 255);
  }
  return Buffer.from(bytes.reverse()).subarray(1, 33);
}

/** RFC 6962, section 2.1, word for word. */
export function secondMerkleRoot(leaves: readonly Uint8Array[]): string {
  const root = (list: readonly Uint8Array[]): Buffer => {
    if (list.length === 0) return h();
    if (list.length === 1) return h(Buffer.of(0), Buffer.from(list[0] as Uint8Array));
    let k = 1;
    while (2 * k < list.length) k *= 2;
    return h(Buffer.of(1), root(list.slice(0, k)), root(list.slice(k)));
  };
  return root(leaves).toString("hex");
}

export function secondArtifactRoot(bytes: Uint8Array): string {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += 2 ** 20) chunks.push(bytes.subarray(at, at + 2 ** 20));
  return H("connito/artifact/1", little(bytes.length, 8), hex(secondMerkleRoot(chunks)));
}

/** Sorted names, no spaces: enough of RFC 8785 for documents of ASCII names whose numbers print as JavaScript prints them. */
export function secondCanonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(secondCanonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, item]) => `${JSON.stringify(name)}:${secondCanonical(item)}`).join(",")}}`;
}

export function secondDocumentHash(value: unknown): string {
  return h(Buffer.from(secondCanonical(value), "utf8")).toString("hex");
}

export function secondReportMessage(report: unknown): string {
  return H("connito/report/1", Buffer.from(secondCanonical(report), "utf8"));
}

export function secondSeed(purpose: string, taskHash: string, cycle: number, blockHash: string): string {
  return H("connito/seed/1", Buffer.from(purpose), hex(taskHash), little(cycle, 4), hex(blockHash));
}

function* words(seed: string): Generator<bigint> {
  for (let counter = 0; ; counter++) {
    const block = h(hex(seed), little(counter, 4));
    for (let at = 0; at < 32; at += 4) yield BigInt(block.readUInt32LE(at));
  }
}

export function secondStream(seed: string): { uniform(n: number): number; draw(k: number, n: number): number[] } {
  const source = words(seed);
  const uniform = (n: number): number => {
    const bound = BigInt(n);
    for (;;) {
      const word = source.next().value as bigint;
      if (word < (2n ** 32n / bound) * bound) return Number(word % bound);
    }
  };
  return {
    uniform,
    draw(k, n) {
      const list = [...Array(n).keys()];
      for (let i = n - 1; i >= 1; i--) {
        const j = uniform(i + 1);
        const kept = list[i] as number;
        list[i] = list[j] as number;
        list[j] = kept;
      }
      return list.filter((_, place) => place < k);
    },
  };
}

interface Preimage {
  netuid: number;
  taskHash: string;
  cycle: number;
  group: number;
  hotkey: string;
  baseRoot: string;
  artifactRoot: string;
  salt: string;
}

export function secondCommitment(p: Preimage): string {
  return H(
    "connito/commit/1",
    little(p.netuid, 2),
    hex(p.taskHash),
    little(p.cycle, 4),
    little(p.group, 2),
    secondPublicKey(p.hotkey),
    hex(p.baseRoot),
    hex(p.artifactRoot),
    hex(p.salt),
  );
}

export function secondRequest(r: { method: string; path: string; range: string; receiver: string; block: number; nonce: string }): string {
  const text = (value: string) => Buffer.from(value, "utf8");
  const parts = [text(r.method), text(r.path), text(r.range), secondPublicKey(r.receiver), little(r.block, 4), hex(r.nonce)];
  return H("connito/request/1", ...parts);
}

export function secondSessionKey(s: Record<"secret" | "sender" | "receiver" | "senderKey" | "receiverKey" | "session", string>): string {
  const parts = [
    hex(s.secret),
    secondPublicKey(s.sender),
    secondPublicKey(s.receiver),
    hex(s.senderKey),
    hex(s.receiverKey),
    hex(s.session),
  ];
  return H("connito/session/1", ...parts);
}

/** HMAC as RFC 2104 defines it, for a key shorter than the block. */
export function secondProof(key: string, r: { method: string; path: string; range?: string | undefined; count: number }): string {
  const parts = [r.method, r.path, r.range ?? ""].map((part) => Buffer.from(part, "utf8"));
  const message = secondFields("connito/session-request/1", [...parts, little(r.count, 8)]);
  const pad = (byte: number): Buffer => Buffer.concat([hex(key), Buffer.alloc(32)]).map((each) => each ^ byte) as Buffer;
  return h(pad(0x5c), h(pad(0x36), message)).toString("hex");
}

export function secondRecord(r: Record<string, string | number>): string {
  const [cycle, group] = [() => little(r["cycle"] as number, 4), () => little(r["group"] as number, 2)];
  const part = (name: string) => hex(r[name] as string);
  const rest = () => Buffer.from(r["locator"] as string, "utf8");
  const layouts: Record<string, () => Buffer[]> = {
    commit: () => [Buffer.of(1), cycle(), group(), part("commitment")],
    reveal: () => [Buffer.of(2), cycle(), group(), part("artifactRoot"), part("salt"), rest()],
    version: () => [Buffer.of(3), cycle(), part("previousRoot"), part("root"), rest()],
    task: () => [Buffer.of(4), part("taskHash"), rest()],
    ready: () => [Buffer.of(5), cycle(), group()],
    report: () => [Buffer.of(6), cycle(), part("base"), part("report"), rest()],
    ballot: () => [Buffer.of(7), cycle(), part("base"), part("ballot"), rest()],
  };
  return Buffer.concat([Buffer.of(1), ...(layouts[r["kind"] as string] as () => Buffer[])()]).toString("hex");
}

interface Miner {
  hotkey: string;
  registeredAt: number;
  lastRecord?: { cycle: number; group: number } | undefined;
}

/** Section 5, by repeated selection instead of one pass. */
export function secondAssignment(input: {
  cycle: number;
  seed: string;
  groups: number;
  missedCycles: number;
  startBlock: number;
  cycleLength: number;
  miners: readonly Miner[];
}): string[][] {
  const oldest = input.cycle - input.missedCycles;
  const available = input.miners.filter(({ registeredAt, lastRecord }) => {
    if (input.cycle <= input.missedCycles) return true;
    if (registeredAt >= input.startBlock + oldest * input.cycleLength) return true;
    return lastRecord !== undefined && lastRecord.cycle >= oldest && lastRecord.cycle <= input.cycle - 1;
  });
  const rank = (hotkey: string) => H("connito/rank/1", hex(input.seed), secondPublicKey(hotkey));
  const byRank = [...available].sort((a, b) => Buffer.compare(hex(rank(a.hotkey)), hex(rank(b.hotkey))));
  const had = (group: number) => byRank.filter((miner) => miner.lastRecord?.group === group);
  const numbers = [...Array(input.groups).keys()];
  const groupRank = [...numbers].sort((a, b) => had(b).length - had(a).length || a - b);
  const capacity = numbers.map((group) => {
    const extra = groupRank.indexOf(group) < byRank.length % input.groups ? 1 : 0;
    return Math.floor(byRank.length / input.groups) + extra;
  });
  const result = numbers.map((group) =>
    had(group)
      .slice(0, capacity[group])
      .map(({ hotkey }) => hotkey),
  );
  const settled = new Set(result.flat());
  for (const { hotkey } of byRank.filter((miner) => !settled.has(miner.hotkey))) {
    const free = numbers.map((group) => (capacity[group] as number) - (result[group] as string[]).length);
    (result[free.indexOf(Math.max(...free))] as string[]).push(hotkey);
  }
  return result.map((group) => group.sort());
}

/** A finite double as a whole number of 2^-1100. */
const unit = 1100n;
export function exact(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = (bits >> 52n) & 0x7ffn;
  const fraction = bits & 0xfffffffffffffn;
  const size = exponent === 0n ? fraction << 1n : (fraction | 0x10000000000000n) << exponent;
  const magnitude = size << (unit - 1075n);
  return bits >> 63n === 1n ? -magnitude : magnitude;
}

/** Whole numbers of 2^-power, rounded to the nearest fp32, ties to even. Zero comes without its sign. */
export function toFloat32(value: bigint, power: bigint): number {
  const magnitude = value < 0n ? -value : value;
  const length = BigInt(magnitude.toString(2).length);
  const lowest = power - 149n;
  const drop = length - 24n > lowest ? length - 24n : lowest;
  let kept = magnitude >> drop;
  const lost = magnitude - (kept << drop);
  const half = 1n << (drop - 1n);
  if (lost > half || (lost === half && kept % 2n === 1n)) kept += 1n;
  const result = Number(kept) * 2 ** Number(drop - power);
  return value < 0n ? -result : result;
}

export const plus = (a: number, b: number): number => toFloat32(exact(a) + exact(b), unit);
export const times = (a: number, b: number): number => toFloat32(exact(a) * exact(b), 2n * unit);
export const single = (a: number): number => toFloat32(exact(a), unit);

/** Section 9's arithmetic on one element, in exact numbers rounded after each operation. */
export function secondOuterStep(e: { base: number; momentum: number; deltas: number[]; lr: number; mu: number; scale: number }): {
  weight: number;
  momentum: number;
} {
  const [lr, mu, scale] = [single(e.lr), single(e.mu), single(e.scale)];
  const sum = e.deltas.reduce((a, b) => plus(a, b));
  const share = toFloat32((1n << 300n) / BigInt(e.deltas.length), 300n);
  const g = times(sum, share);
  const v = plus(times(mu, e.momentum), g);
  const step = times(lr, plus(g, times(mu, v)));
  return { weight: plus(e.base, times(scale, step)), momentum: v };
}

/** Section 9's lower median, by its other definition: the least score with at least half of the stake at or below it. */
export function secondMedian(reports: readonly { stake: bigint; score: number }[]): number {
  const total = reports.reduce((sum, { stake }) => sum + stake, 0n);
  const scores = reports.map(({ score }) => score).sort((a, b) => a - b);
  const below = (score: number) => reports.filter((report) => report.score <= score).reduce((sum, { stake }) => sum + stake, 0n);
  return scores.find((score) => 2n * below(score) >= total) as number;
}

interface Said {
  readonly status: string;
  readonly root: string | null;
}

/** Section 9's reports against the chain: what counts of what is said. */
export function secondHeld(chain: Said, said: Said): Said {
  const byChain = ["not-committed", "not-revealed", "commitment-mismatch", "wrong-group", "copy"];
  if (byChain.includes(chain.status)) return chain;
  const counts = said.status === "unscored" || (said.root === chain.root && !byChain.includes(said.status));
  return counts ? said : { status: "unscored", root: chain.root };
}

/** Section 9's disputes: the agreed score for who measured the miner again. */
export function secondDispute(said: readonly (readonly [number, number | null])[], measured: number | null) {
  const reports = said.flatMap(([stake, score]) => (score === null ? [] : [{ stake: BigInt(stake), score }]));
  const fits = (a: number, b: number) => a <= 2 * b + 100 && b <= 2 * a + 100;
  const disputed = !reports.every((a) => reports.every((b) => fits(a.score, b.score)));
  if (!disputed || measured === null) return { disputed, agreed: secondMedian(reports) };
  const right = reports.filter(({ score }) => fits(score, measured));
  return { disputed, agreed: right.length > 0 ? secondMedian(right) : measured };
}

/** Section 5's groups: asks of every expert whether it is of the group. Without `groupOf`, the even split. */
export function secondGroup(layers: readonly { layer: number; experts: number; groupOf?: number[] }[], group: number, groups: number) {
  return layers.map(({ layer, experts, groupOf }) => ({
    layer,
    experts: [...Array(experts).keys()].filter(
      (e) => (groupOf === undefined ? (e * groups - ((e * groups) % experts)) / experts : groupOf[e]) === group,
    ),
  }));
}

/** Section 5's selection, one expert at a time: the best that is left, until what was taken reaches the threshold. */
export function secondSelection(scores: readonly number[], candidates: readonly number[], threshold: number): number[] {
  const total = scores.reduce((sum, score) => sum + score, 0);
  const left = candidates.map((expert, i) => ({ expert, share: total === 0 ? 1 / scores.length : (scores[i] as number) / total }));
  const selected: number[] = [];
  for (let taken = 0; taken < threshold; ) {
    const best = Math.max(...left.map(({ share }) => share));
    if (!(best > 0)) break;
    const [chosen] = left.splice(
      left.findIndex(({ share }) => share === best),
      1,
    );
    selected.push(chosen?.expert as number);
    taken += best;
  }
  return selected;
}

interface Version {
  netuid: number;
  taskHash: string;
  cycle: number;
  hotkey: string;
  previousRoot: string;
  root: string;
}

export function secondBallot(v: Version): string {
  const parts = [little(v.netuid, 2), hex(v.taskHash), little(v.cycle, 4), secondPublicKey(v.hotkey), hex(v.previousRoot), hex(v.root)];
  return H("connito/ballot/1", ...parts);
}

/** Section 8's split and draw: rows of domain and index, for the gate and for each stage. */
export function secondDraw(input: { seed: string; available: readonly number[]; first: number; stages: number }) {
  const { first, stages } = input;
  const random = secondStream(input.seed);
  const pools = input.available.map((count) => [...Array(count).keys()].filter((index) => index % 16 > 3));
  const budget = Math.min(first * 2 ** (stages - 1), ...pools.map((pool) => Math.floor(pool.length / 2)));
  const drawn = pools.map((pool) => random.draw(budget + budget, pool.length).map((place) => pool[place] as number));
  const cut = (from: number, to: number) => drawn.flatMap((list, domain) => list.slice(from, to).map((index) => [domain, index]));
  const ends = [0, ...Array.from({ length: stages }, (_, stage) => Math.min(budget, first * 2 ** stage))];
  const added = ends.slice(1).map((end, stage) => cut(budget + (ends[stage] as number), budget + end));
  return { gate: cut(0, budget), stages: added.filter((stage) => stage.length > 0) };
}

export function secondOpenDraw(seed: string, available: readonly number[]): number[][] {
  const random = secondStream(seed);
  return available.flatMap((count, domain) => {
    const open = [...Array(count).keys()].filter((index) => index % 16 === 3);
    return random.draw(Math.min(8, open.length), open.length).map((place) => [domain, open[place] as number]);
  });
}

/** Section 8's scorers: the point on the line of stakes, found by walking along it. */
export function secondScorers(
  seed: string,
  group: number,
  validators: readonly { hotkey: string; stake: bigint }[],
  count: number,
): string[] {
  const source = words(H("connito/scorers/1", hex(seed), little(group, 2)));
  const line = [...validators].sort((a, b) => (a.hotkey < b.hotkey ? -1 : 1)).map(({ hotkey, stake }) => ({ hotkey, stake: stake || 1n }));
  const result: string[] = [];
  while (result.length < count && line.length > 0) {
    const x = (source.next().value as bigint) + (source.next().value as bigint) * 2n ** 32n;
    const point = (x * line.reduce((sum, { stake }) => sum + stake, 0n)) / 2n ** 64n;
    let at = 0;
    for (let end = line[0]?.stake ?? 0n; end <= point; end += line[at]?.stake ?? 0n) at++;
    result.push(line.splice(at, 1)[0]?.hotkey as string);
  }
  return result;
}

/** Section 8's mean and bound, by the other formula of the deviation, which rounds differently. */
function secondBound(base: readonly number[], candidate: readonly number[], errorRate: number) {
  const n = base.length;
  const d = base.map((loss, i) => loss - (candidate[i] as number));
  const m = d.reduce((sum, x) => sum + x) / n;
  const variance = Math.max(0, (d.reduce((sum, x) => sum + x * x, 0) - n * m * m) / (n - 1));
  return { m, variance, bound: m - secondStudent(errorRate, n - 1) * Math.sqrt(variance / n) };
}

/** Section 8's quantile of Student's t. */
function secondStudent(errorRate: number, v: number): number {
  const t = Math.sqrt(Math.log(1 / errorRate ** 2));
  const z = t - (2.515517 + 0.802853 * t + 0.010328 * t ** 2) / (1 + 1.432788 * t + 0.189269 * t ** 2 + 0.001308 * t ** 3);
  return [
    z,
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160,
  ].reduce((sum, term, power) => sum + term / v ** power, 0);
}

/** Section 8's verdict after a stage. */
export function secondJudgement(
  base: readonly number[],
  candidate: readonly number[],
  stage: number,
  stages: readonly number[],
  errorRate: number,
) {
  const { m, variance, bound } = secondBound(base, candidate, errorRate / stages.length);
  const score = Math.max(0, Math.floor(1e6 * bound));
  const last = stage === stages.length;
  const [n, all] = [base.length, stages.reduce((sum, size) => sum + size)];
  const most = m + secondStudent(0.05, n - 1) * Math.sqrt(variance / n);
  const least = 1e-6 + secondStudent(errorRate / stages.length, all - 1) * Math.sqrt(variance / all);
  if (score >= 1 && (last || bound >= m / 2)) return { status: "accepted", score };
  if (last || most < least) return { status: "no-gain", score: 0 };
  return null;
}

/** Section 9's losses by domain and gain of a step, the sequences being of two domains in turns. */
export function secondAssessment(base: readonly number[], candidate: readonly number[], errorRate: number) {
  const inDomain = (of: readonly number[], domain: number) => {
    const own = of.filter((_, i) => i % 2 === domain);
    return Math.floor((1e6 * own.reduce((sum, loss) => sum + loss)) / own.length + 0.5);
  };
  const losses = [inDomain(candidate, 0), inDomain(candidate, 1)];
  const worse = losses.some((loss, domain) => loss > inDomain(base, domain));
  return { losses, gain: worse ? 0 : Math.max(0, Math.floor(1e6 * secondBound(base, candidate, errorRate).bound)) };
}

/** Section 8's stages of two domains, 6 sequences each in the first of at most 3, by their numbers: of these data, or of some. */
export function secondNumbers(numbers: readonly number[], available?: readonly number[]): boolean {
  const all = (sizes: readonly number[]) => {
    const { stages } = secondDraw({ seed: "00".repeat(32), available: sizes, first: 6, stages: 3 });
    return stages.map((stage) => stage.length).join();
  };
  const some = available === undefined ? Array.from({ length: 100 }, (_, extra) => [16 + extra, 200]) : [available];
  return some.some((sizes) => all(sizes) === numbers.join());
}

/** Section 9's second question of the gate. */
export function secondStep(moving: readonly number[], rest: readonly number[]) {
  const tried = [moving, rest].map((gains, which) => ({ place: gains.indexOf(Math.max(...gains)), fromRest: which === 1, gains }));
  const step = tried.find(({ gains }) => gains.some((gain) => gain > 0));
  return step === undefined ? null : { place: step.place, fromRest: step.fromRest };
}

/** Section 8's first places of the runs of a sketch. */
export function secondPlaces(seed: string, group: number, elements: number, count: number): number[] {
  const random = secondStream(H("connito/sketch/1", hex(seed), little(group, 2)));
  const result: number[] = [];
  while (result.length < count) {
    const high = elements < 2 ** 32 ? 0 : random.uniform(Math.ceil(elements / 2 ** 32));
    const place = high * 2 ** 32 + random.uniform(Math.min(elements, 2 ** 32));
    if (place < elements) result.push(place);
  }
  return result;
}

/** Section 8's near copies: what is said of the delta at `place` of a group in order of commits. Least squares by coordinate descent. */
export function secondLikeness(
  deltas: readonly (readonly number[])[],
  place: number,
  sparse: boolean,
  { scores, strengths }: { readonly scores: readonly number[]; readonly strengths: readonly number[] },
) {
  const inner = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
  const unit = deltas.map((delta) => delta.map((x) => x / (Math.sqrt(inner(delta, delta)) || 1)));
  const own = unit[place] as number[];
  const size = (k: number) => Math.abs(inner(unit[k] as number[], own));
  const nearest = (list: number[], count: number) => list.sort((a, b) => size(b) - size(a) || a - b).slice(0, count);
  const earlier = [...deltas.keys()].filter((k) => k < place);
  const descend = (target: readonly number[], sources: readonly number[]) => {
    const weights = new Map(sources.map((k) => [k, 0]));
    let rest = target;
    for (let round = 0; round < 1_000; round++)
      for (const k of sources) {
        const step = inner(rest, unit[k] as number[]);
        weights.set(k, (weights.get(k) as number) + step);
        rest = rest.map((x, i) => x - step * (unit[k]?.[i] as number));
      }
    return { weights, left: inner(rest, rest) };
  };
  const explain = (sources: readonly number[]) => {
    const taken: number[] = [];
    for (const k of sources) if (descend(unit[k] as number[], taken).left > 0.05) taken.push(k);
    const { weights, left } = descend(own, taken);
    return { weights: sources.map((k) => weights.get(k) ?? 0), share: Math.sqrt(Math.max(0, inner(own, own) - left)) };
  };

  const like = nearest(
    earlier.filter((k) => size(k) > 0),
    3,
  );
  const known = [place, ...like.slice(0, 1)].map((k) => strengths[k] as number).filter((strength) => strength !== 0);
  const isStrong = (k: number, part: number) => known.length === 0 || (strengths[k] as number) / part >= Math.min(...known);
  const paid = (k: number) => scores[k] !== 0 && (scores[k] as number) >= (scores[place] as number) / 4;
  const others = [...deltas.keys()].filter((k) => k !== place && paid(k) && isStrong(k, 1 / 2));
  const strong = others.filter((k) => isStrong(k, 3 / 4));
  const raised = (k: number) => Math.max(1, Math.min(...known) / (strengths[k] as number));
  const alikeIn = (list: readonly number[], times: (k: number) => number) =>
    list.flatMap((a) => list.filter((b) => b > a).map((b) => inner(unit[a] as number[], unit[b] as number[]) * times(a) * times(b)));
  const pairs = strong.length >= 2 ? alikeIn(strong, () => 1) : alikeIn(others, raised);
  const most = sparse ? 0.5 : 0.9;
  const falling = pairs.sort((a, b) => b - a);
  const usual = Math.max(0.2, Math.min(most, falling[Math.floor(pairs.length / 10)] ?? most));
  const { share, weights: parts } = explain(like);
  const needed = usual >= 0.6 ? 1 - (1 - usual) / 4 : 1 - 0.625 * (1 - usual) ** 2;
  if (share >= needed) return { share, usual, like, parts, copy: true };
  const closest = Math.max(0, ...earlier.map(size));
  const six = nearest(
    others.filter((k) => k < place || size(k) < closest),
    6,
  );
  if (six.length < 4) return { share, usual, like, parts, copy: share > 0 && !sparse ? "unclear" : false };
  const { weights } = explain(six);
  const total = weights.reduce((sum, weight) => sum + Math.abs(weight), 0);
  const parted = six
    .map((k, at) => ({ part: total === 0 ? 0 : Math.abs(weights[at] as number) / total, counts: k < place && size(k) >= 0.25 }))
    .sort((a, b) => b.part - a.part);
  const [first, next] = parted as [(typeof parted)[number], (typeof parted)[number]];
  const one = first.part >= (six.length === 6 ? 0.8 : 0.9) && first.counts;
  const two = six.length === 6 && first.part + next.part >= 0.95 && first.counts && next.counts;
  const open = six.length < 6 && share > 0 && !sparse ? "unclear" : false;
  return { share, usual, like, parts, weight: first.part, copy: one || two || open };
}

type Rest = Record<"base" | "explained" | "own" | "mirrored" | "scrambled" | "scrambledMirrored", number[]>;

/** Section 8's effect of what a submission adds, and of that with random signs. */
export function secondEffects(losses: Rest, share: number): { effect: number; random: number } {
  const squares = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + (x - (b[i] as number)) ** 2, 0);
  const part = squares(losses.base, losses.explained) / (share * share);
  const of = (a: number[], b: number[]) => Math.sqrt(squares(a, b) / 4 / (1 - share * share) / part);
  return { effect: of(losses.own, losses.mirrored), random: of(losses.scrambled, losses.scrambledMirrored) };
}

/** Section 8's random signs. */
export function secondRandomSigns(of: { seed: string; group: number; name: string }, count: number): number[] {
  const first = hex(H("connito/signs/1", hex(of.seed), little(of.group, 2), Buffer.from(of.name, "utf8"))).readUInt32LE(0);
  return [...Array(count).keys()].map((i) => (secondMix(BigInt(first) + BigInt(i) * 0x9e3779b9n) < 2n ** 31n ? 1 : -1));
}

/** Section 5: what a miner's walk in a cycle is drawn with. */
export function secondWalkSeed(taskHash: string, cycle: number, miner: string): string {
  return H("connito/order/1", hex(taskHash), little(cycle, 4), secondPublicKey(miner));
}

/** Section 5: domain and number of the sequence at a place of the walk, by going through the whole epoch. Each domain's runs are the numbers in them. */
export function secondWalk(
  domains: readonly (readonly (readonly number[])[])[],
  seed: string,
  place: number,
): [domain: number, number: number] {
  const domain = place % domains.length;
  const runs = domains[domain] as readonly (readonly number[])[];
  const turn = (place - domain) / domains.length;
  const total = runs.flat().length;
  const epoch = (turn - (turn % total)) / total;
  const shuffled = (count: number, ...of: number[]) =>
    secondStream(H("connito/walk/1", hex(seed), ...[domain, epoch, ...of].map((each) => little(each, 4)))).draw(count, count);
  const epochs = shuffled(runs.length).flatMap((run) => {
    const numbers = runs[run] as readonly number[];
    return shuffled(numbers.length, run).map((at) => numbers[at] as number);
  });
  return [domain, epochs[turn % total] as number];
}

/** Section 8: the turns that a member is drawn, by domain, and their places in its walk. */
export function secondTurns(
  of: { seed: string; group: number; miner: string; leastTraining: { sequences: number; drawn: number } },
  available: readonly number[],
): { turns: number[][]; places: number[]; first: number[][]; second: number[][] } {
  const random = secondStream(H("connito/own/1", hex(of.seed), little(of.group, 2), secondPublicKey(of.miner)));
  const each = (count: number) => Math.floor(count / available.length);
  const turns: number[][] = [];
  for (const n of available) {
    const r = Math.min(each(of.leastTraining.sequences), n);
    turns.push(random.draw(Math.min(each(of.leastTraining.drawn), r), r));
  }
  const isFirst = (list: readonly number[], at: number) => 4 * at < list.length;
  return {
    turns,
    places: turns.flatMap((list, domain) => list.map((t) => t * available.length + domain)),
    first: turns.map((list) => list.filter((_, at) => isFirst(list, at))),
    second: turns.map((list) => list.filter((_, at) => !isFirst(list, at))),
  };
}

/** Section 8: how many of k members each block has; one or two are not asked. */
export function secondBlocks(k: number): number[] {
  const B = k > 2 ? Math.ceil(k / 5) : 0;
  return [...Array(B).keys()].map((b) => Math.floor(((b + 1) * k) / B) - Math.floor((b * k) / B));
}

interface Block {
  sizes: readonly number[];
  base: readonly number[];
  /** What is null is not finite. */
  members: readonly (readonly (number | null)[])[];
}

/** Section 8's effects and errors of a block's members; undefined where one is not finite. Slopes and variances by the differences of all pairs. */
export function secondOwnEffects({ sizes, base, members }: Block): ({ effect: number; error: number } | undefined)[] {
  const ends = sizes.map((_, member) => sizes.slice(0, member + 1).reduce((a, b) => a + b, 0));
  const owner = (at: number) => ends.findIndex((end) => at < end);
  const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
  const pairs = (x: readonly number[], y: readonly number[]) =>
    sum(x.flatMap((a, i) => x.slice(0, i).map((b, j) => (a - b) * ((y[i] as number) - (y[j] as number)))));
  const variance = (x: readonly number[]) => pairs(x, x) / x.length / (x.length - 1);
  const known = [...members.keys()].filter((member) => !members[member]?.includes(null));
  const gain = (member: number, at: number) => (base[at] as number) - (members[member]?.[at] as number);
  return members.map((_, member) => {
    if (!known.includes(member)) return undefined;
    const places = [...base.keys()];
    const [own, others] = [places.filter((at) => owner(at) === member), places.filter((at) => owner(at) !== member)];
    const expected = (at: number) => {
      const by = known.filter((other) => other !== member && other !== owner(at)).map((other) => gain(other, at));
      return by.length === 0 ? 0 : sum(by) / by.length;
    };
    const y = others.map((at) => gain(member, at));
    const x = known.length < 3 ? [] : others.map(expected);
    const spread = pairs(x, x);
    const deviation = Math.sqrt(variance(y));
    const [first, second] = [0, spread === 0 ? 0 : pairs(x, y) / spread].map((slope) => {
      const rest = (at: number) => gain(member, at) - slope * expected(at);
      const rising = others.map(rest).sort((a, b) => a - b);
      const m = rising.length;
      const [low, high] = [rising[Math.floor(m / 10)] as number, rising[Math.ceil((9 * m) / 10) - 1] as number];
      const clipped = (list: readonly number[]) => list.map((at) => Math.max(low, Math.min(high, rest(at))));
      const [a, b] = [clipped(own), clipped(others)];
      const effect = (sum(a) / a.length - sum(b) / b.length) / deviation;
      return { effect, error: Math.sqrt(variance(a) / a.length + variance(b) / b.length) / deviation };
    }) as [{ effect: number; error: number }, { effect: number; error: number }];
    const larger = second.effect > first.effect ? second : first;
    return Number.isFinite(larger.effect) && Number.isFinite(larger.error) ? larger : undefined;
  });
}

type Effect = { effect: number; error: number } | undefined;

/** Section 8: what is usual; undefined where nothing is asked. */
function secondUsual(effects: readonly Effect[]): number | undefined {
  const shown = effects.flatMap((each) => (each !== undefined && each.effect > 4 * each.error ? [each.effect] : []));
  const notAbove = (value: number) => shown.filter((other) => other <= value).length;
  const usual = Math.min(...shown.filter((value) => 2 * notAbove(value) >= shown.length));
  return shown.length > 1 && usual >= 0.25 ? usual : undefined;
}

/** Section 8: which members of a group, in all its blocks, show too little. */
export function secondNotTrained(effects: readonly Effect[]): boolean[] {
  const usual = secondUsual(effects);
  return effects.map((each) => each !== undefined && usual !== undefined && each.effect + 2 * each.error < usual / 2);
}

/** Section 8: which of a group's blocks are measured on all that was drawn, by the effects of the first quarter. */
export function secondGoesOn(blocks: readonly (readonly Effect[])[]): boolean[] {
  const usual = secondUsual(blocks.flat());
  return blocks.map((block) => usual === undefined || block.some((each) => each === undefined || each.effect < usual / 2));
}

type Rule = { method: string; tolerated: number; normCap: number };

/** Section 9's aggregates of deltas that lie end to end, cut into tensors of these lengths; every fp32 operation in exact numbers. */
export function secondAggregate(deltas: readonly (readonly number[])[], lengths: readonly number[], rule: Rule): number[] {
  const n = deltas.length;
  const squares = (a: readonly number[], b?: readonly number[]) => {
    let at = 0;
    let total = 0;
    for (const length of lengths) {
      const lane = (k: number) => {
        let sum = 0;
        for (let i = k; i < length; i += 4) sum += ((a[at + i] as number) - (b?.[at + i] ?? 0)) ** 2;
        return sum;
      };
      total += lane(0) + lane(1) + (lane(2) + lane(3));
      at += length;
    }
    return total;
  };
  const lower = (list: readonly number[]) => [...list].sort((a, b) => a - b)[Math.ceil(list.length / 2) - 1] as number;
  const norms = deltas.map((delta) => Math.sqrt(squares(delta)));
  const limit = rule.normCap * lower(norms);
  const capped = deltas.map((delta, k) => {
    const norm = norms[k] as number;
    return norm > limit ? delta.map((x) => times(x, single(limit / norm))) : [...delta];
  });
  const mean = (list: readonly number[]) => times(list.reduce(plus), single(1 / list.length));
  const column = (list: readonly (readonly number[])[], i: number) => list.map((delta) => delta[i] as number);
  const each = (combine: (values: number[]) => number, list: readonly (readonly number[])[] = capped) =>
    (list[0] as readonly number[]).map((_, i) => combine(column(list, i)));
  const rising = (values: number[]) => [...values].sort((a, b) => a - b);
  const trimmed = (trim: number) => each((values) => mean(rising(values).slice(trim, n - trim)));
  const bad = Math.floor(rule.tolerated * n);
  const middle = trimmed(Math.ceil(n / 2) - 1);
  if (rule.method === "trimmed-mean") return trimmed(bad);
  if (rule.method === "median") return middle;
  if (rule.method === "centred-clipping") {
    const distances = capped.map((delta) => Math.sqrt(squares(delta, middle)));
    const radius = lower(distances);
    const pulls = capped.map((delta, k) => {
      const factor = (distances[k] as number) > radius ? single(radius / (distances[k] as number)) : 1;
      return delta.map((x, i) => times(factor, plus(x, -(middle[i] as number))));
    });
    return each(mean, pulls).map((pull, i) => plus(middle[i] as number, pull));
  }
  if (rule.method === "krum") {
    const scores = capped.map((delta, k) =>
      rising(capped.filter((_, other) => other !== k).map((other) => squares(delta, other)))
        .slice(0, Math.max(1, n - bad - 2))
        .reduce((sum, x) => sum + x, 0),
    );
    const limitScore = rising(scores)[n - bad - 1] as number;
    return each(
      mean,
      capped.filter((_, k) => (scores[k] as number) <= limitScore),
    );
  }
  return each(mean);
}

interface Claim {
  stake: bigint;
  cycle: number;
  root: string;
  previousRoot: string;
  proven: boolean;
}

/** Section 9's vote, with fractions. */
export function secondVote(claims: readonly Claim[], cycle: number, missedCycles: number) {
  const known = claims.filter((claim) => claim.cycle <= cycle);
  const fresh = known.filter((claim) => cycle - claim.cycle <= missedCycles);
  const active = fresh.length === 0 ? known : fresh;
  const sum = (list: readonly Claim[]) => list.reduce((total, { stake }) => total + stake, 0n);
  const winner = (list: readonly Claim[], of: (claim: Claim) => string) =>
    list.map(of).find((root) => 2n * sum(list.filter((claim) => of(claim) === root)) > sum(list)) ?? null;
  const reporters = active.filter((claim) => claim.proven && claim.cycle === cycle);
  const root = sum(reporters) * 2n < sum(active) ? null : winner(reporters, (claim) => claim.root);
  const held = winner(active, (claim) => (claim.cycle < cycle ? claim.root : claim.previousRoot));
  return root ?? held ?? winner(active, (claim) => claim.previousRoot);
}

/** Section 9's weights, with exact fractions over one denominator. */
export function secondWeights(
  history: readonly { cycle: number; scores: Record<string, number> }[],
  window: number,
  cycle: number,
  miners: readonly string[],
) {
  const recent = history.filter((entry) => entry.cycle > cycle - window && entry.cycle <= cycle);
  const earned = miners.map((miner) => {
    const own = recent.filter(({ scores }) => scores[miner] !== undefined);
    const total = own.reduce((sum, { scores }) => sum + (scores[miner] as number), 0);
    return total === 0 ? 0 : total / (cycle - Math.min(...own.map((entry) => entry.cycle)) + 1 + window / 2);
  });
  return earned.map((value) => Math.floor((65_535 * value) / Math.max(...earned)));
}

/** Section 3: all tokens of all shards in their order, then cut. Tokens as they are read: negative ones of 32 bits included. */
export function secondSequences(document: { dtype: string; sequenceLength: number }, shards: readonly Buffer[]): number[][] {
  const bytes = Buffer.concat(shards);
  const width = document.dtype === "u16" ? 2 : 4;
  const run = document.sequenceLength + 1;
  const token = (place: number) =>
    [...bytes.subarray(width * place, width * (place + 1))].reduceRight((sum, byte) => sum * 256 + byte, 0) | 0;
  const count = bytes.length / (width * run);
  return [...Array(count).keys()].map((sequence) => [...Array(run).keys()].map((place) => token(sequence * run + place)));
}

/** Section 5: the numbers of the sequences that each of a group's miners trains on. */
export function secondShares(
  sizes: readonly number[],
  place: { taskHash: string; cycle: number; group: number; domain: number; miners: number },
): number[][] {
  const seed = H("connito/share/1", hex(place.taskHash), little(place.cycle, 4), little(place.group, 2), little(place.domain, 4));
  const numbers: number[][] = [];
  let next = 0;
  for (const size of sizes) numbers.push(Array.from({ length: size }, () => next++));
  const line = secondStream(seed)
    .draw(sizes.length, sizes.length)
    .flatMap((shard) => numbers[shard] as number[]);
  const owner = (at: number) => [...Array(place.miners).keys()].find((k) => at < Math.floor(((k + 1) * line.length) / place.miners));
  return Array.from({ length: place.miners }, (_, k) => {
    const own = line.filter((_, at) => owner(at) === k);
    return own.length > 0 ? own : [line[Math.floor((k * line.length) / place.miners)] as number];
  });
}

export function secondDigest(bytes: Buffer): string {
  return h(bytes).toString("hex");
}

/** Section 6's mixing of 32 bits. */
function secondMix(value: bigint): bigint {
  const word = 2n ** 32n;
  let x = value % word;
  x = ((x ^ (x >> 16n)) * 0x85ebca6bn) % word;
  x = ((x ^ (x >> 13n)) * 0xc2b2ae35n) % word;
  return x ^ (x >> 16n);
}

/** Section 6: the places of a tensor, by the letter. */
export function secondSignPlaces(of: { task: string; cycle: number; group: number; name: string }, elements: number): number[] {
  const drawn = H("connito/places/1", hex(of.task), little(of.cycle, 4), little(of.group, 2), Buffer.from(of.name, "utf8"));
  const seed = hex(drawn).readUInt32LE(0);
  const word = 2n ** 32n;
  return [...Array(Math.ceil(elements / 10)).keys()].map((i) => {
    const width = Math.min(10, elements - 10 * i);
    return 10 * i + Number((secondMix(BigInt(seed) + BigInt(i) * 0x9e3779b9n) * BigInt(width)) / word);
  });
}

/** Section 6, a delta of signs by the letter; undefined where the bytes are not to be taken. */
export function secondSigns(bytes: Uint8Array, places: readonly number[], elements: number): Float32Array | undefined {
  const result = new Float32Array(elements);
  let rest = Buffer.from(bytes);
  for (let first = 0; first < places.length; first += 400) {
    const some = places.slice(first, first + 400);
    const length = 2 + Math.ceil(some.length / 8);
    if (rest.length < length) return undefined;
    const scale = Buffer.from([0, 0, rest[0] as number, rest[1] as number]).readFloatLE(0);
    if ((rest[1] as number) >= 128) return undefined;
    const bits = [...rest.subarray(2, length)].map((byte) => byte.toString(2).padStart(8, "0").split("").reverse().join("")).join("");
    if (bits.slice(some.length).includes("1")) return undefined;
    for (const [i, place] of some.entries()) result[place] = bits[i] === "1" ? -scale : scale;
    rest = rest.subarray(length);
  }
  return rest.length === 0 ? result : undefined;
}
