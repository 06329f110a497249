/**
 * One participant as a process of its own, of the built code, so that what it needs of memory is what a participant needs: `owner` opens
 * the checkpoint, indexes it (hashing a sample) and makes a view of all of it; `server` serves the view; `miner` fetches the manifests, plans its slice, fetches, verifies and
 * keeps a sample of its pieces and writes them as a slice file. Each step is a line of JSON on standard output.
 */
import { statSync } from "node:fs";
import { join } from "node:path";

const { role, state, url, directory, manifests, root, standIns, groups, sampleBytes, hashes, hashedBytes } = JSON.parse(process.argv[2]);
const dist = (path) => import(new URL(`../../dist/${path}`, import.meta.url).href);
const [{ parseManifest, manifestRoot, maximumManifestBytes, totalBytes }, { openWorkspace }, { developmentSigner, verifySignature }] =
  await Promise.all([dist("model/manifest.js"), dist("workspace/workspace.js"), dist("chain/signer.js")]);
const [owner, miner] = [await developmentSigner("//Alice"), await developmentSigner("//Bob")];
const workspace = await openWorkspace(state, { lock: true });

async function step(what, work) {
  const began = performance.now();
  const { result, bytes } = (await work()) ?? {};
  const seconds = (performance.now() - began) / 1000;
  process.stdout.write(`${JSON.stringify({ role, what, seconds, bytes, peakBytes: process.resourceUsage().maxRSS * 1024 })}\n`);
  return result;
}

/** Pieces from the front of the list until there are enough bytes, and the largest of all, which no sample may leave out: it is what memory could depend on. */
function sampleOf(pieces) {
  const largest = pieces.reduce((most, piece) => (piece.bytes > most.bytes ? piece : most));
  const sample = [largest];
  let bytes = 0;
  for (const piece of pieces) {
    if (bytes >= sampleBytes) break;
    // What is a sample by itself is in it once, and not more often.
    if (piece === largest || piece.bytes > sampleBytes / 4) continue;
    sample.push(piece);
    bytes += piece.bytes;
  }
  return sample;
}

async function runOwner() {
  const { openCheckpoint } = await dist("model/checkpoint.js");
  const { indexCheckpoint } = await dist("model/index-checkpoint.js");
  const { openHashMemo } = await dist("model/hash-memo.js");
  const checkpoint = await step("open: all headers, the index, every name and shape", async () => ({
    result: await openCheckpoint(directory),
  }));
  const { manifest, locations } = await step("index: hash a sample, take all else from the notes of an earlier run", async () => {
    const memo = await openHashMemo(hashes);
    const result = await indexCheckpoint(checkpoint, { memo });
    await memo.close();
    return { result, bytes: hashedBytes };
  });
  await step("the root of its manifest", async () => {
    if (manifestRoot(manifest) !== root) throw new Error("the manifest has another root");
  });
  await step("a view of all pieces", async () => {
    await workspace.objects.addView(locations);
    return { bytes: totalBytes(manifest.pieces) };
  });
}

async function runServer() {
  const { startServer } = await dist("exchange/server.js");
  const server = await startServer({
    host: "127.0.0.1",
    port: 0,
    hotkey: owner.address,
    authorize: (hotkey) => hotkey === miner.address,
    verify: verifySignature,
    finalizedBlock: () => 1000,
    publication: {
      resolve: async (_path, _requester, resource) => {
        if (resource.kind === "manifest") {
          const file = join(manifests, `${resource.root}.json`);
          return { file, offset: 0, bytes: statSync(file).size };
        }
        return resource.kind === "object" ? workspace.objects.locate(resource.hash) : undefined;
      },
    },
  });
  process.stdout.write(`${JSON.stringify({ url: server.url })}\n`);
  for await (const _ of process.stdin);
  await step("served", async () => undefined);
  await server.close();
}

async function runMiner() {
  const { openSource, collectBytes } = await dist("exchange/exchange.js");
  const { fetchObject } = await dist("exchange/fetch-object.js");
  const { planSlice, writeSliceFile } = await dist("model/slice.js");
  const { createExpertManager } = await dist("protocol/experts/expert-manager.js");
  const { inParallel } = await dist("steps/fetch.js");
  const source = openSource(url, { signer: miner, blockNumber: () => 1000, receiver: owner.address });
  const fetchManifest = (expectedRoot, what) =>
    step(`fetch ${what}, check its root`, async () => {
      const stream = await source.get(`/manifests/${expectedRoot}.json`, { maximumBytes: maximumManifestBytes });
      const bytes = await collectBytes(stream, maximumManifestBytes);
      return { result: parseManifest(bytes, { expectedRoot }), bytes: bytes.length };
    });
  const manifest = await fetchManifest(root, "the manifest");
  const others = standIns === undefined ? "none" : await fetchManifest(standIns, "the stand-ins' manifest");
  const plan = await step("plan the slice of a group", async () => {
    const experts = new Map();
    for (const { layer, expert } of manifest.pieces)
      if (layer !== undefined && expert !== undefined) experts.set(layer, Math.max(experts.get(layer) ?? 0, expert + 1));
    const layers = [...experts].sort(([a], [b]) => a - b).map(([layer, count]) => ({ layer, experts: count }));
    const result = planSlice({ manifest, standIns: others, manager: createExpertManager({ layers }, groups), group: 1 });
    const { backbone, experts: own, standIns: copies } = result.bytes;
    const routed = totalBytes(manifest.pieces.filter((piece) => piece.role === "expert"));
    if (own !== routed / groups) throw new Error("the slice is not backbone + routed / groups");
    return { result, bytes: backbone + own + copies };
  });
  // Of stand-ins there is the manifest only.
  const sample = sampleOf(plan.pieces.filter(({ role }) => role !== "stand-in").reverse());
  await step("fetch, verify and keep a sample of it", async () => {
    await inParallel(sample, 8, async ({ hash, bytes }) => {
      const into = workspace.objects.temporaryPath(hash);
      await fetchObject({ sources: [source], path: `/objects/${hash}`, hash, bytes, into });
      await workspace.objects.adopt(into, hash, { verified: true });
    });
    return { bytes: totalBytes(sample) };
  });
  await step("write the sample as a slice file, verified", async () => {
    const { bytes } = await writeSliceFile({ ...plan, pieces: sample }, join(state, "slice.safetensors"), {
      locate: (hash) => workspace.objects.locate(hash),
    });
    return { bytes };
  });
}

await { owner: runOwner, server: runServer, miner: runMiner }[role]();
await workspace.close();
process.exit(0);
