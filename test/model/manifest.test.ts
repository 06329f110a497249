import assert from "node:assert/strict";
import fc from "fast-check";
import {
  createManifest,
  diffManifests,
  encodeManifest,
  type Manifest,
  manifestRoot,
  maximumManifestBytes,
  parseManifest,
} from "../../src/model/manifest.ts";
import { bytesOfPiece, type Piece, pieceKey, pieceName, readPieceFrom, readWholePiece, streamPiece } from "../../src/model/pieces.ts";
import { canonicalJson } from "../../src/protocol/canonical.ts";
import { hashFields, hashToBytes, sha256, toHex } from "../../src/protocol/hash.ts";
import { merkleRoot } from "../../src/protocol/merkle.ts";
import { failure, inDirectory, writeFile } from "./support.ts";

const hashOf = (text: string) => toHex(sha256(new TextEncoder().encode(text)));

const backbone: Piece = { role: "backbone", name: "model.norm.weight", dtype: "BF16", shape: [4], bytes: 8, hash: hashOf("norm") };
const expert = (layer: number, index: number, hash = hashOf(`${layer}/${index}`)): Piece => {
  const name = `model.layers.${layer}.mlp.experts.${index}.up_proj.weight`;
  return { role: "expert", name, dtype: "F32", shape: [2, 3], bytes: 24, hash, layer, expert: index };
};
const momentum: Piece = { ...expert(0, 1), role: "momentum", hash: hashOf("momentum") };
const standIn: Piece = { ...expert(0, 1), role: "stand-in", dtype: "Q4_32", bytes: 8, hash: hashOf("stand-in") };
const example = createManifest(hashOf("config"), hashOf("tokenizer"), [momentum, expert(1, 0), backbone, expert(0, 1), expert(0, 0)]);

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

describe("manifest", () => {
  it("is in canonical order and comes back from its bytes", () => {
    assert.deepEqual(
      example.pieces.map(pieceKey),
      [backbone, expert(0, 0), expert(0, 1), expert(1, 0), momentum].map((piece) => pieceKey(piece)),
    );
    const root = manifestRoot(example);
    assert.deepEqual(parseManifest(encodeManifest(example), { expectedRoot: root }), example);
    assert.match(root, /^[0-9a-f]{64}$/);
  });

  it("orders names by UTF-8 bytes, and experts of one fused tensor by number", () => {
    const named = (name: string, index: number): Piece => ({ ...expert(0, index), name });
    const pieces = ["\u{1f600}", "\ue000", "z", "é", "fused"].flatMap((name) => [named(name, 10), named(name, 2)]);
    const sorted = createManifest(hashOf("c"), hashOf("t"), pieces).pieces;
    const wanted = pieces
      .map((piece) => ({ piece, key: Buffer.from(piece.name) }))
      .toSorted((a, b) => Buffer.compare(a.key, b.key) || (a.piece.expert ?? 0) - (b.piece.expert ?? 0));
    assert.deepEqual(
      sorted.map((piece) => [piece.name, piece.expert]),
      wanted.map(({ piece }) => [piece.name, piece.expert]),
    );
  });

  it("does not change its root with the order in which pieces are given, or keys written", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...example.pieces], { minLength: example.pieces.length }), (pieces) => {
        const turned = pieces.map((piece) => Object.fromEntries(Object.entries(piece).reverse()) as unknown as Piece);
        assert.equal(manifestRoot(createManifest(example.config, example.tokenizer, turned)), manifestRoot(example));
      }),
      { numRuns: 30 },
    );
  });

  it("is canonical JSON, in its leaves and as a whole", () => {
    const names = fc.string({ unit: "binary", minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(names, fc.nat(), fc.constantFrom(backbone, expert(3, 5), momentum, standIn), (name, bytes, piece) => {
        const manifest = createManifest(hashOf("c"), hashOf("t"), [{ ...piece, name, bytes }, backbone]);
        assert.deepEqual(encodeManifest(manifest), canonicalJson(manifest));
        const root = merkleRoot(manifest.pieces.map((one) => canonicalJson(one)));
        const wanted = hashFields("connito/manifest/1", hashToBytes(manifest.config), hashToBytes(manifest.tokenizer), hashToBytes(root));
        assert.equal(manifestRoot(manifest), wanted);
      }),
      { numRuns: 60 },
    );
  });

  it("changes its root with anything in it", () => {
    const roots = new Set<string>();
    const changed = (change: (manifest: { -readonly [Key in keyof Manifest]: Manifest[Key] } & { pieces: Piece[] }) => void) => {
      const copy = structuredClone(example) as unknown as Manifest & { pieces: Piece[] };
      change(copy);
      roots.add(manifestRoot(copy));
    };
    const variants: ((piece: Record<string, unknown>) => void)[] = [
      (piece) => Object.assign(piece, { role: "stand-in" }),
      (piece) => Object.assign(piece, { name: `${piece["name"]}x` }),
      (piece) => Object.assign(piece, { dtype: "F16" }),
      (piece) => Object.assign(piece, { shape: [...(piece["shape"] as number[]), 1] }),
      (piece) => Object.assign(piece, { bytes: (piece["bytes"] as number) + 1 }),
      (piece) => Object.assign(piece, { hash: hashOf("other") }),
      (piece) => Object.assign(piece, { layer: 7 }),
      (piece) => Object.assign(piece, { expert: 9 }),
    ];
    for (let index = 0; index < example.pieces.length; index++) {
      for (const variant of variants) changed(({ pieces }) => variant(pieces[index] as unknown as Record<string, unknown>));
      changed(({ pieces }) => pieces.splice(index, 1));
      changed(({ pieces }) => pieces.splice(index, 0, pieces[index] as Piece));
    }
    changed((manifest) => Object.assign(manifest, { config: hashOf("other") }));
    changed((manifest) => Object.assign(manifest, { tokenizer: hashOf("other") }));
    changed((manifest) => Object.assign(manifest, { config: manifest.tokenizer, tokenizer: manifest.config }));
    changed(() => {});
    // Doubling the piece before a piece equals doubling it after: one fewer for no piece, since neighbours differ.
    assert.equal(roots.size, example.pieces.length * 10 + 4);
  });

  const broken: [string, string, (manifest: Record<string, unknown> & { pieces: Record<string, unknown>[] }) => void][] = [
    ["another format", "format", (m) => Object.assign(m, { format: "connito/manifest/2" })],
    ["an unknown field", "extra", (m) => Object.assign(m, { extra: 1 })],
    ["an unknown field of a piece", "pieces.0.extra", (m) => Object.assign(m.pieces[0] as object, { extra: 1 })],
    ["a missing hash", "pieces.1.hash", (m) => delete m.pieces[1]?.["hash"]],
    ["a hash in capitals", "pieces.1.hash", (m) => Object.assign(m.pieces[1] as object, { hash: "A".repeat(64) })],
    ["an unknown role", "pieces.0.role", (m) => Object.assign(m.pieces[0] as object, { role: "expertise" })],
    ["an unknown dtype", "pieces.0.dtype", (m) => Object.assign(m.pieces[0] as object, { dtype: "Q4" })],
    ["a negative dimension", "pieces.0.shape.0", (m) => Object.assign(m.pieces[0] as object, { shape: [-1] })],
    ["a fraction", "pieces.0.bytes", (m) => Object.assign(m.pieces[0] as object, { bytes: 0.5 })],
    ["a lone surrogate", "pieces.0.name", (m) => Object.assign(m.pieces[0] as object, { name: "\ud800" })],
    ["a name without end", "pieces.0.name", (m) => Object.assign(m.pieces[0] as object, { name: "x".repeat(513) })],
    ["bytes that the shape does not make", "its dtype and shape make 8", (m) => Object.assign(m.pieces[0] as object, { bytes: 9 })],
    ["an expert without layer", "layer or expert", (m) => delete m.pieces[1]?.["layer"]],
    ["a backbone with an expert", "layer or an expert", (m) => Object.assign(m.pieces[0] as object, { expert: 1, layer: 0 })],
    ["momentum in bf16", "dtype BF16", (m) => Object.assign(m.pieces[4] as object, { dtype: "BF16", bytes: 12 })],
    ["an expert in Q4_32", "dtype Q4_32", (m) => Object.assign(m.pieces[1] as object, { dtype: "Q4_32", bytes: 8 })],
    ["a stand-in in F32", "dtype F32", (m) => Object.assign(m.pieces[4] as object, { role: "stand-in" })],
    ["pieces out of order", "canonical order", (m) => m.pieces.reverse()],
    ["a piece twice", "twice", (m) => m.pieces.splice(1, 0, m.pieces[1] as never)],
  ];
  for (const [what, named, change] of broken) {
    it(`refuses ${what}`, () => {
      const copy = structuredClone(example) as unknown as Record<string, unknown> & { pieces: Record<string, unknown>[] };
      change(copy);
      assert.throws(() => parseManifest(json(copy)), failure("manifest-invalid"));
      assert.throws(
        () => parseManifest(json(copy)),
        (error: Error) => error.message.includes(named),
      );
    });
  }

  it("reads piece by piece what a general parser reads at once, and refuses what that refuses", () => {
    const spaced = new TextEncoder().encode(JSON.stringify(example, undefined, 3).replaceAll("{", "\r\t{ "));
    assert.deepEqual(parseManifest(spaced), example);
    const spelled = new TextEncoder().encode(new TextDecoder().decode(json(example)).replace('"pieces"', '"piece\\u0073"'));
    assert.throws(() => parseManifest(spelled), failure("manifest-invalid"), "a list that was not checked piece by piece");
    const odd = { ...example, pieces: [{ ...backbone, name: 'a "quoted" \\ name with ],[ and },{ in it' }] };
    assert.deepEqual(parseManifest(json(odd)).pieces, odd.pieces);
    const text = new TextDecoder().decode(json(example));
    const list = text.slice(text.indexOf("["), text.lastIndexOf("]") + 1);
    for (const wrong of [
      `${text}x`,
      `${text.slice(0, -1)},"pieces":[]}`,
      `${text.slice(0, -1)},"pieces":${list}}`,
      text.replace(list, `${list.slice(0, -1)},]`),
      text.replace(list, `[,${list.slice(1)}`),
      text.replace("},{", "}{"),
      text.replace("},{", "};{"),
      text.slice(0, text.lastIndexOf("]")),
      text.slice(0, text.lastIndexOf('"')),
      text.replace(list, "[nonsense]"),
      text.replace(list, "[1,2]"),
      text.replace(list, "{}"),
    ])
      assert.throws(() => parseManifest(new TextEncoder().encode(wrong)), failure("manifest-invalid"), wrong.slice(0, 200));
    assert.deepEqual(parseManifest(new TextEncoder().encode(text.replace(list, "[ ]"))).pieces, []);
  });

  it("refuses what is no JSON, no object, or too long, and another root", () => {
    for (const bytes of [json(null), json([]), new TextEncoder().encode("{"), Uint8Array.of(0xff)]) {
      assert.throws(() => parseManifest(bytes), failure("manifest-invalid"));
    }
    assert.throws(() => parseManifest(new Uint8Array(maximumManifestBytes + 1)), failure("manifest-invalid"));
    assert.throws(
      () => parseManifest(encodeManifest(example), { expectedRoot: hashOf("another") }),
      failure("manifest-root-mismatch", { exit: 40 }),
    );
  });

  it("survives thousands of mutated documents", () => {
    const base = encodeManifest(example);
    const root = manifestRoot(example);
    fc.assert(
      fc.property(fc.nat(base.length - 1), fc.nat(255), fc.nat(40), (at, value, removed) => {
        const bytes = [...base];
        bytes.splice(at, removed % 3 === 0 ? 1 : removed, value);
        try {
          assert.deepEqual(parseManifest(Uint8Array.from(bytes), { expectedRoot: root }), example);
        } catch (error) {
          failure((error as { code: string }).code)(error);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("takes stand-ins as a manifest of their own", () => {
    const manifest = createManifest(hashOf("c"), hashOf("t"), [standIn]);
    assert.deepEqual(parseManifest(encodeManifest(manifest)), manifest);
    assert.equal(bytesOfPiece("Q4_32", [2, 3]), 2 * (2 + 2));
    assert.equal(bytesOfPiece("Q4_32", [5, 64]), 5 * (32 + 4));
  });

  it("says what a new version changes", () => {
    const next = createManifest(example.config, example.tokenizer, [
      ...example.pieces.map((piece) =>
        piece.name === expert(0, 1).name && piece.role === "expert" ? { ...piece, hash: hashOf("new") } : piece,
      ),
      { ...expert(1, 0), role: "momentum", hash: hashOf("new momentum") },
    ]);
    const { changed, changedBytes, sharedBytes } = diffManifests(example, next);
    assert.deepEqual(changed.map(pieceKey), [pieceKey(expert(0, 1)), `momentum:${expert(1, 0).name}`]);
    assert.equal(changedBytes, 48);
    assert.equal(sharedBytes, 8 + 3 * 24);
    assert.equal(diffManifests(undefined, example).changed.length, example.pieces.length);
    assert.equal(diffManifests(example, example).changedBytes, 0);
  });

  it("names experts of a fused tensor by number, those of their own tensors by name", () => {
    assert.equal(pieceName(expert(0, 1)), expert(0, 1).name);
    assert.equal(pieceName({ name: "model.layers.1.mlp.experts.gate_up_proj", expert: 1 }), "model.layers.1.mlp.experts.gate_up_proj#1");
    assert.equal(
      pieceName({ name: "model.layers.3.mlp.experts.13.up_proj.weight", expert: 3 }),
      "model.layers.3.mlp.experts.13.up_proj.weight#3",
    );
    assert.equal(pieceName(backbone), backbone.name);
  });
});

describe("pieces", () => {
  const bytes = new Uint8Array(3_000_000).map((_, at) => at * 5);
  const piece: Piece = { role: "backbone", name: "a", dtype: "U8", shape: [bytes.length], bytes: bytes.length, hash: toHex(sha256(bytes)) };

  it("come from a place in a file, checked", () =>
    inDirectory(async (directory) => {
      const file = writeFile(directory, "file", Buffer.concat([new Uint8Array(11), bytes, new Uint8Array(5)]));
      const read = readPieceFrom((hash) => (hash === piece.hash ? { file, offset: 11, bytes: bytes.length } : undefined));
      assert.deepEqual(await readWholePiece(piece, read), bytes);
      await assert.rejects(readWholePiece({ ...piece, hash: hashOf("x") }, read), failure("piece-missing", { exit: 40 }));
      const moved = readPieceFrom(() => ({ file, offset: 10, bytes: bytes.length }));
      await assert.rejects(readWholePiece(piece, moved), failure("piece-mismatch", { exit: 40 }));
    }));

  it("are refused when they are shorter, longer or other bytes, and never flood the reader", async () => {
    const short = async () => bytes.subarray(1);
    const other = async () => bytes.map((byte, at) => (at === 2_999_999 ? byte ^ 128 : byte));
    let delivered = 0;
    const endless = async function* () {
      for (;;) {
        delivered++;
        yield new Uint8Array(1_000_000);
      }
    };
    for (const read of [short, other, endless]) await assert.rejects(readWholePiece(piece, read), failure("piece-mismatch"));
    assert.equal(delivered, 4);
    let passed = 0;
    await assert.rejects(async () => {
      for await (const chunk of streamPiece(piece, endless)) passed += chunk.length;
    }, failure("piece-mismatch"));
    assert.equal(passed, bytes.length);
  });
});
