import assert from "node:assert/strict";
import { mkdir, readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { publishToDirectory } from "../../src/exchange/directory.ts";
import { createManifest, encodeManifest, type Manifest, manifestRoot } from "../../src/model/manifest.ts";
import type { Piece } from "../../src/model/pieces.ts";
import { sha256, toHex } from "../../src/protocol/hash.ts";
import type { Context } from "../../src/steps/context.ts";
import { slice } from "../../src/steps/distribute/slice.ts";
import { storeManifest } from "../../src/steps/manifests.ts";
import type { Membership } from "../../src/steps/membership.ts";
import { silentProgress } from "../../src/ui/progress.ts";
import { openWorkspace, type Workspace } from "../../src/workspace/workspace.ts";
import { type Example, makeExample } from "../model/example.ts";
import { independentRead } from "../model/support.ts";
import { failsWith, inTemporaryDirectory } from "../workspace/support.ts";

interface Scene {
  readonly example: Example;
  /** A miner with an empty state directory, whose only peer is the directory `peer`. */
  readonly context: Context;
  readonly workspace: Workspace;
  readonly membership: Membership;
  readonly peer: string;
  publish(manifest: Manifest, bytes?: Uint8Array): Promise<void>;
}

async function withScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  await inTemporaryDirectory(async (directory) => {
    const example = await makeExample(directory, undefined, { mixed: true });
    const { manifest, standIns, locate, checkpoint } = example;
    const peer = join(directory, "peer");
    await mkdir(peer);
    const put = (bytes: Uint8Array): Promise<void> => publishToDirectory(peer, `/objects/${toHex(sha256(bytes))}`, bytes);
    const publish = async (version: Manifest, bytes?: Uint8Array): Promise<void> => {
      await publishToDirectory(peer, `/manifests/${manifestRoot(version)}.json`, encodeManifest(version));
      if (bytes !== undefined) await put(bytes);
    };
    for (const { hash } of [...manifest.pieces, ...standIns.pieces]) {
      const place = locate(hash);
      if (place !== undefined) await publishToDirectory(peer, `/objects/${hash}`, place);
    }
    for (const bytes of [checkpoint.configBytes, checkpoint.tokenizer]) await put(bytes);
    await publish(manifest);
    await publish(standIns);
    const workspace = await openWorkspace(join(directory, "miner"), { lock: true });
    const context = {
      workspace,
      chain: { subnetOwnerHotkey: async () => undefined, neurons: async () => [], commitments: async () => [] },
      clock: { now: async () => ({ finalized: { number: 9, hash: "00" } }) },
      netuid: 1,
      signer: { address: "nobody" },
      peers: [`file:${peer}`],
      threads: 2,
      progress: silentProgress,
      signal: new AbortController().signal,
    } as unknown as Context;
    const model = { root: manifestRoot(manifest), standIns: manifestRoot(standIns) };
    const membership = {
      taskHash: "",
      task: { model, experts: { groups: 2, grouping: "even" }, validators: { minimumStake: "0" } },
    } as unknown as Membership;
    try {
      await work({ example, context, workspace, membership, peer, publish });
    } finally {
      await workspace.close();
    }
  });
}

/** The version after `manifest` in which the first tensor of this expert is other bytes. */
function changed(manifest: Manifest, layer: number, expert: number, seed: number): { next: Manifest; piece: Piece; bytes: Uint8Array } {
  const old = manifest.pieces.find((piece) => piece.role === "expert" && piece.layer === layer && piece.expert === expert) as Piece;
  const bytes = new Uint8Array(old.bytes).fill(seed);
  const piece = { ...old, hash: toHex(sha256(bytes)) };
  const pieces = manifest.pieces.map((one) => (one === old ? piece : one));
  return { next: createManifest(manifest.config, manifest.tokenizer, pieces), piece, bytes };
}

describe("slice step", () => {
  it("fetches of a new version what changed in its group, and says so in bytes", () =>
    withScene(async ({ example: { manifest }, context, membership, publish }) => {
      const root = manifestRoot(manifest);
      const first = await slice(context, membership, { root, group: 0 });
      // Norms of the same bytes are one object.
      const all = first.fetchedBytes;
      assert.ok(all > 0 && all <= Object.values(first.bytes).reduce((sum, bytes) => sum + bytes, 0));
      assert.equal(first.presentBytes, 0);
      assert.equal(first.previous, undefined);
      const again = await slice(context, membership, { root, group: 0 });
      assert.deepEqual([again.fetchedBytes, again.presentBytes, again.previous], [0, all, undefined]);

      // An expert of group 0 changes, then one of group 1, which a miner of group 0 has as a stand-in and does not care about.
      const own = changed(manifest, 1, 0, 7);
      await publish(own.next, own.bytes);
      const second = await slice(context, membership, { root: manifestRoot(own.next), group: 0 });
      const { bytes } = own.piece;
      assert.deepEqual([second.fetchedPieces, second.fetchedBytes, second.presentBytes], [1, bytes, all - bytes]);
      assert.deepEqual(second.previous, { root, group: 0, sharedBytes: all - bytes, changedBytes: bytes });
      const foreign = changed(own.next, 0, 3, 8);
      await publish(foreign.next, foreign.bytes);
      const third = await slice(context, membership, { root: manifestRoot(foreign.next), group: 0 });
      assert.deepEqual([third.fetchedBytes, third.previous?.changedBytes], [0, 0]);
      // The other group: its own experts instead of their stand-ins, stand-ins instead of what it had.
      const other = await slice(context, membership, { root: manifestRoot(foreign.next), group: 1 });
      assert.ok(other.fetchedBytes > 0 && other.presentBytes > 0);
      assert.equal(other.previous?.group, 0);
      assert.equal(other.previous?.sharedBytes, other.presentBytes);
    }));

  it("refuses a file that cannot be written before it fetches anything", () =>
    withScene(async ({ example: { manifest }, context, workspace, membership }) => {
      for (const [name, code] of [
        ["slice/", "usage"],
        ["s".repeat(211), "usage"],
        ["", "file-irregular"],
      ] as const) {
        const file = name === "" ? workspace.directory : join(workspace.directory, name);
        await failsWith(code, slice(context, membership, { root: manifestRoot(manifest), group: 1, file }));
      }
      const hashes = new Set(manifest.pieces.map(({ hash }) => hash));
      assert.equal((await workspace.objects.absent(hashes)).length, hashes.size);
    }));

  it("writes a file of what is here, and drops a piece that changed on the disk", () =>
    withScene(async ({ example: { manifest }, context, workspace, membership }) => {
      const input = { root: manifestRoot(manifest), group: 1, file: join(workspace.directory, "slice.safetensors") } as const;
      const { pieces, bytes } = await slice(context, membership, input);
      assert.equal(Object.keys(independentRead(input.file).tensors).length, pieces);
      const victim = manifest.pieces.find((piece) => piece.role === "backbone") as Piece;
      await writeFile(workspace.layout.object(victim.hash), new Uint8Array(victim.bytes));
      await failsWith("piece-mismatch", slice(context, membership, input));
      const mended = await slice(context, membership, input);
      assert.deepEqual([mended.fetchedPieces, mended.fetchedBytes], [1, victim.bytes]);
      assert.deepEqual(mended.bytes, bytes);
    }));

  it("removes what only old versions need, and nothing else", () =>
    withScene(async ({ example: { manifest }, context, workspace, membership, publish }) => {
      const { objects, layout } = workspace;
      const data = await objects.put(Buffer.from("no piece of any version"));
      let version = manifest;
      const history: { root: string; piece: Piece }[] = [];
      for (let cycle = 0; cycle < 6; cycle++) {
        const { next, piece, bytes } = changed(version, 0, 1, cycle + 1);
        await publish(next, bytes);
        const root = manifestRoot(next);
        const { prunedBytes } = await slice(context, membership, { root, group: 0, prune: { cycle: 0 } });
        await utimes(layout.manifest(root), 1000 + cycle, 1000 + cycle);
        history.push({ root, piece });
        version = next;
        // The current one and three beside it stay: the first to go is the one of five cycles ago.
        assert.equal(prunedBytes, cycle < 4 ? 0 : piece.bytes, `cycle ${cycle}`);
      }
      const here = await Promise.all(history.map(({ piece }) => objects.has(piece.hash)));
      assert.deepEqual(here, [false, false, true, true, true, true]);
      assert.equal((await readdir(layout.manifests)).length, 1 + 4, "stand-ins and four versions");
      assert.ok(await objects.has(data));
      const base = await slice(context, membership, { root: manifestRoot(manifest), group: 0 });
      assert.equal(base.fetchedPieces, 1, "all of the base is here but the tensor that was changed from the beginning");
      // A version that was merged here and is not agreed upon yet is among the newest.
      const merged = changed(version, 1, 1, 99);
      await objects.put(merged.bytes);
      await storeManifest(workspace, merged.next);
      await slice(context, membership, { root: manifestRoot(version), group: 0, prune: { cycle: 0 } });
      assert.ok(await objects.has(merged.piece.hash));
    }));
});
