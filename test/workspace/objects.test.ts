import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { layoutOf } from "../../src/workspace/layout.ts";
import { type ObjectStore, openObjects } from "../../src/workspace/objects.ts";
import { failsWith, inTemporaryDirectory, onFullDisk, traceDisk } from "./support.ts";

const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function collect(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const copies: Buffer[] = [];
  for await (const part of parts) copies.push(Buffer.from(part));
  return Buffer.concat(copies);
}

/** A store with a view of three pieces in one file. */
async function viewed(directory: string): Promise<{ store: ObjectStore; file: string; pieces: Buffer[]; hashes: string[] }> {
  const pieces = [randomBytes(100), randomBytes(50), randomBytes(70)];
  const hashes = pieces.map(hashOf);
  const file = join(directory, "model.safetensors");
  await writeFile(file, Buffer.concat([Buffer.from("header"), ...pieces]));
  const store = await openObjects(layoutOf(join(directory, "state")));
  await store.addView(
    new Map([
      [hashes[0] as string, { file, offset: 6, bytes: 100 }],
      [hashes[1] as string, { file, offset: 106, bytes: 50 }],
      [hashes[2] as string, { file, offset: 156, bytes: 70 }],
    ]),
  );
  return { store, file, pieces, hashes };
}

describe("objects", () => {
  it("keeps bytes under their hash and gives them back", () =>
    inTemporaryDirectory(async (directory) => {
      const store = await openObjects(layoutOf(directory));
      const bytes = randomBytes((1 << 20) + 5);
      const hash = await store.put(bytes);
      assert.equal(hash, hashOf(bytes));
      assert.ok(Buffer.from(await store.read(hash)).equals(bytes));
      assert.ok((await collect(store.stream(hash))).equals(bytes));
      assert.deepEqual(await store.locate(hash), { file: layoutOf(directory).object(hash), offset: 0, bytes: bytes.length });
      assert.deepEqual(await traceDisk(() => store.put(bytes)), [], "what is here is not written again");
      await failsWith("object-missing", store.read(hashOf(Buffer.from("other"))));
      assert.equal((await store.read(await store.put(new Uint8Array(0)))).length, 0);
    }));

  it("says that an object is corrupt, drops it, and takes it again", () =>
    inTemporaryDirectory(async (directory) => {
      const store = await openObjects(layoutOf(directory));
      const bytes = randomBytes(1000);
      const hash = await store.put(bytes);
      for (const damage of [Buffer.alloc(1000), bytes.subarray(0, 999), Buffer.concat([bytes, bytes])]) {
        await writeFile(layoutOf(directory).object(hash), damage);
        const error = await failsWith("object-corrupt", store.read(hash));
        assert.equal(error.retryable, true);
        assert.equal(await store.has(hash), false);
        await failsWith("object-missing", store.read(hash));
        assert.equal(await store.put(bytes), hash);
        assert.ok(await store.has(hash));
      }
    }));

  it("only looks when opened for reading: what is corrupt counts as missing and stays on the disk", () =>
    inTemporaryDirectory(async (directory) => {
      const layout = layoutOf(directory);
      const hash = await (await openObjects(layout)).put(Buffer.from("bytes"));
      await writeFile(layout.object(hash), "damaged");
      const reader = await openObjects(layout, { readOnly: true });
      await failsWith("object-corrupt", reader.read(hash));
      assert.equal(await reader.has(hash), false);
      assert.equal(await readFile(layout.object(hash), "utf8"), "damaged");
    }));

  it("copies a file in, refusing one that is not what it should be", () =>
    inTemporaryDirectory(async (directory) => {
      const layout = layoutOf(join(directory, "state"));
      const store = await openObjects(layout);
      const path = join(directory, "data.txt");
      await writeFile(path, "some text");
      await failsWith("object-hash-mismatch", store.putFile(path, hashOf(Buffer.from("other text"))));
      assert.deepEqual(
        (await readdir(layout.objects, { recursive: true })).filter((name) => name.length > 2),
        [],
      );
      const hash = await store.putFile(path);
      assert.equal(Buffer.from(await store.read(hash)).toString(), "some text");
      assert.equal(await store.putFile(path, hash), hash);
      assert.equal(await readFile(path, "utf8"), "some text");
    }));

  it("takes over a finished download from a path that is the same after a restart", () =>
    inTemporaryDirectory(async (directory) => {
      const store = await openObjects(layoutOf(directory));
      const bytes = randomBytes(300);
      const path = store.temporaryPath(hashOf(bytes));
      await mkdir(dirname(path), { recursive: true });
      assert.equal((await openObjects(layoutOf(directory))).temporaryPath(hashOf(bytes)), path);
      await writeFile(path, bytes.subarray(1));
      await failsWith("object-hash-mismatch", store.adopt(path, hashOf(bytes)));
      assert.equal(await store.has(hashOf(bytes)), false);
      await writeFile(path, bytes);
      const trace = await traceDisk(() => store.adopt(path, hashOf(bytes), { verified: true }));
      assert.deepEqual(trace.slice(-3), [
        `sync ${hashOf(bytes)}`.replace(/[0-9a-f]{12}/, "*"),
        `rename ${hashOf(bytes)}`.replace(/[0-9a-f]{12}/, "*"),
        `sync ${hashOf(bytes).slice(0, 2)}`,
      ]);
      assert.ok(Buffer.from(await store.read(hashOf(bytes))).equals(bytes));
      await store.adopt(path, hashOf(bytes));
      await failsWith("file-missing", store.adopt(path, hashOf(Buffer.from("other"))));
    }));

  it("leaves nothing of an object for which there was no space", () =>
    inTemporaryDirectory(async (directory) => {
      const layout = layoutOf(directory);
      const store = await openObjects(layout);
      const bytes = randomBytes(5000);
      const path = join(directory, "source");
      await writeFile(path, bytes);
      await failsWith(
        "disk-full",
        onFullDisk(4999, () => store.put(bytes)),
      );
      await failsWith(
        "disk-full",
        onFullDisk(10, () => store.putFile(path)),
      );
      assert.deepEqual(
        (await readdir(layout.objects, { recursive: true })).filter((name) => name.length > 2),
        [],
      );
      assert.ok(await store.has(await store.put(bytes)));
    }));

  it("reads pieces out of files elsewhere, also after being opened again, without copying", () =>
    inTemporaryDirectory(async (directory) => {
      const { pieces, hashes } = await viewed(directory);
      const layout = layoutOf(join(directory, "state"));
      const again = await openObjects(layout);
      for (const [index, hash] of hashes.entries()) {
        assert.ok(Buffer.from(await again.read(hash)).equals(pieces[index] as Buffer));
        assert.equal((await again.locate(hash))?.bytes, pieces[index]?.length);
      }
      await assert.rejects(readdir(layout.objects));
    }));

  it("notices that a viewed file changed, piece by piece, and takes what is still right", () =>
    inTemporaryDirectory(async (directory) => {
      const { store, file, pieces, hashes } = await viewed(directory);
      const bytes = await readFile(file);
      bytes[110] = (bytes[110] as number) ^ 1;
      await writeFile(file, bytes);
      const later = new Date(Date.now() + 5000);
      await utimes(file, later, later);
      assert.equal(await store.has(hashes[1] as string), false);
      assert.equal(await store.has(hashes[0] as string), true);
      assert.ok(Buffer.from(await store.read(hashes[2] as string)).equals(pieces[2] as Buffer));
      await store.put(pieces[1] as Buffer);
      assert.ok(Buffer.from(await store.read(hashes[1] as string)).equals(pieces[1] as Buffer));
    }));

  it("notices a change that left size and time alone when the piece is read, and remembers that it is gone", () =>
    inTemporaryDirectory(async (directory) => {
      const { store, file, hashes } = await viewed(directory);
      const time = new Date(1_700_000_000_000);
      await utimes(file, time, time);
      const fresh = await openObjects(layoutOf(join(directory, "state")));
      assert.ok(await fresh.has(hashes[0] as string));
      const bytes = await readFile(file);
      bytes[6] = (bytes[6] as number) ^ 1;
      await writeFile(file, bytes);
      await utimes(file, time, time);
      await failsWith("object-corrupt", fresh.read(hashes[0] as string));
      await failsWith("object-missing", fresh.read(hashes[0] as string));
      assert.equal(await (await openObjects(layoutOf(join(directory, "state")))).has(hashes[0] as string), false);
      assert.equal(await store.has(hashes[1] as string), true);
    }));

  it("counts the pieces of a file that is gone or cut as missing, and finds them when it is back", () =>
    inTemporaryDirectory(async (directory) => {
      const { store, file, hashes } = await viewed(directory);
      await rename(file, `${file}.away`);
      assert.equal(await store.has(hashes[0] as string), false);
      await rename(`${file}.away`, file);
      assert.equal(await store.has(hashes[0] as string), true);
      await writeFile(file, (await readFile(file)).subarray(0, 120));
      assert.equal(await store.has(hashes[0] as string), true);
      assert.equal(await store.has(hashes[1] as string), false);
      await rm(file);
      assert.equal(await store.has(hashes[0] as string), false);
    }));

  it("refuses a view beyond the end of its file, and a damaged view file by name", () =>
    inTemporaryDirectory(async (directory) => {
      const { store, file } = await viewed(directory);
      const beyond = new Map([[hashOf(Buffer.from("x")), { file, offset: 200, bytes: 100 }]]);
      await failsWith("view-out-of-range", store.addView(beyond));
      const layout = layoutOf(join(directory, "state"));
      const [view] = await readdir(layout.views);
      await writeFile(join(layout.views, view as string), '{"format":"connito/view/1","files":[],"pieces":[["x",0,0,0]]}');
      const error = await failsWith("document-corrupt", openObjects(layout));
      assert.match(error.message, new RegExp(view as string));
    }));

  it("forgets on request, without touching a viewed file", () =>
    inTemporaryDirectory(async (directory) => {
      const { store, file, hashes } = await viewed(directory);
      const hash = await store.put(Buffer.from("bytes"));
      for (const each of [...hashes, hash]) {
        await store.remove(each);
        assert.equal(await store.has(each), false);
      }
      assert.equal((await readFile(file)).length, 226);
      assert.deepEqual(await readdir(layoutOf(join(directory, "state")).views), []);
    }));
});
