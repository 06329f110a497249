import assert from "node:assert/strict";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../src/model/checkpoint.ts";
import { exportVersion, planExport } from "../../src/model/export.ts";
import { indexCheckpoint } from "../../src/model/index-checkpoint.ts";
import { createManifest, manifestRoot } from "../../src/model/manifest.ts";
import { type Example, makeExample } from "./example.ts";
import { failure, inDirectory, independentRead, pieceNamed, someFloats, tiny, versionWith } from "./support.ts";

const withExample = (use: (example: Example, directory: string) => Promise<void>) => () =>
  inDirectory(async (directory) => use(await makeExample(directory), directory));
const documents = (directory: string) => ({
  config: readFileSync(join(directory, "base", "config.json")),
  tokenizer: readFileSync(join(directory, "base", "tokenizer.json")),
});
const expert = "model.layers.1.mlp.experts.2.up_proj.weight";

describe("export", () => {
  it(
    "writes a later version's weights, without momentum and stand-ins, in one file or in several with an index",
    withExample(async ({ manifest, objects, locate }, directory) => {
      const weights = someFloats(5, 120);
      const next = await versionWith(manifest, new Map([[expert, { weights, momentum: weights }]]));
      for (const [hash, bytes] of next.objects) objects.set(hash, bytes);
      const options = { manifest: next.manifest, architecture: tiny, ...documents(directory), locate };
      for (const [name, maximumShardBytes] of [
        ["whole", 1e9],
        ["parts", 10_000],
      ] as const) {
        const output = join(directory, name);
        const progress: [number, number][] = [];
        const exported = await exportVersion({
          ...options,
          directory: output,
          maximumShardBytes,
          onProgress: (...step) => progress.push(step),
        });
        const files = readdirSync(output).filter((file) => file.endsWith(".safetensors"));
        assert.equal(files.length, exported.files);
        assert.equal(files.length > 1, name === "parts");
        assert.deepEqual(progress.at(-1), [exported.bytes, exported.bytes]);
        const tensors = Object.assign({}, ...files.map((file) => independentRead(join(output, file)).tensors));
        assert.equal(Object.keys(tensors).length, manifest.pieces.length);
        assert.deepEqual(tensors[expert].data, new Uint8Array(weights.buffer));
        for (const file of files) {
          assert.deepEqual(independentRead(join(output, file)).metadata, { format: "pt" });
          const own = Object.values(independentRead(join(output, file)).tensors);
          assert.ok(own.length === 1 || own.reduce((sum, { data }) => sum + data.length, 0) <= maximumShardBytes, file);
        }
        if (name === "parts") {
          const index = JSON.parse(readFileSync(join(output, "model.safetensors.index.json"), "utf8"));
          assert.equal(index.metadata.total_size, exported.bytes);
          for (const [tensor, file] of Object.entries(index.weight_map))
            assert.ok(independentRead(join(output, file as string)).tensors[tensor]);
        }
        // It is a checkpoint of its own: the same pieces but for momentum and stand-ins.
        const again = await indexCheckpoint(await openCheckpoint(output));
        const { config, tokenizer, pieces } = next.manifest;
        const weightsOnly = createManifest(
          config,
          tokenizer,
          pieces.filter(({ role }) => role === "backbone" || role === "expert"),
        );
        assert.equal(manifestRoot(again.manifest), manifestRoot(weightsOnly));
      }
    }),
  );

  it(
    "goes on where it was stopped, and shows nothing before it is whole",
    withExample(async ({ manifest, locate }, directory) => {
      const output = join(directory, "model");
      const controller = new AbortController();
      const options = { manifest, architecture: tiny, ...documents(directory), directory: output, maximumShardBytes: 10_000, locate };
      let seen = 0;
      const stopping = exportVersion({
        ...options,
        signal: controller.signal,
        onProgress: (done, total) => {
          seen = done;
          if (done > total / 2) controller.abort();
        },
      });
      await assert.rejects(stopping, { name: "AbortError" });
      assert.ok(seen > 0);
      assert.ok(!readdirSync(directory).includes("model"));
      const unfinished = join(directory, readdirSync(directory).find((name) => name.endsWith(".export")) as string);
      const [finished] = readdirSync(unfinished).filter((name) => name.endsWith(".safetensors"));
      const first = join(unfinished, finished as string);
      const second = first.replace("-00001-", "-00002-");
      utimesSync(first, 1, 1);
      writeFileSync(second, "torn");
      await exportVersion(options);
      assert.deepEqual(
        readdirSync(directory).filter((name) => name.endsWith(".export")),
        [],
      );
      assert.equal(statSync(first.replace(unfinished, output)).mtimeMs, 1000, "a finished file is not written again");
      assert.equal(manifestRoot((await indexCheckpoint(await openCheckpoint(output))).manifest), manifestRoot(manifest));
    }),
  );

  it(
    "neither believes nor writes through what somebody else put beside it",
    withExample(async ({ manifest, locate }, directory) => {
      const output = join(directory, "model");
      const options = { manifest, architecture: tiny, ...documents(directory), maximumShardBytes: 1e9, locate };
      const made = await exportVersion({ ...options, directory: output });
      const bytes = readFileSync(join(output, "model.safetensors"));
      const elsewhere = join(directory, "elsewhere");
      mkdirSync(elsewhere);
      const unfinished = join(directory, `.model.${manifestRoot(manifest).slice(0, 16)}.${1e9}.export`);
      const plants = {
        "a directory that all may write to": () => {
          mkdirSync(unfinished);
          chmodSync(unfinished, 0o777);
          writeFileSync(join(unfinished, "model.safetensors"), new Uint8Array(bytes.length));
        },
        "a link to one": () => symlinkSync(elsewhere, unfinished),
        "a link to nowhere": () => symlinkSync(join(directory, "nowhere"), unfinished),
      };
      for (const [name, plant] of Object.entries(plants)) {
        rmSync(output, { recursive: true });
        plant();
        assert.equal((await exportVersion({ ...options, directory: output })).files, made.files);
        assert.ok(!lstatSync(output).isSymbolicLink(), name);
        assert.deepEqual(readFileSync(join(output, "model.safetensors")), bytes, name);
        assert.deepEqual(readdirSync(elsewhere), [], name);
      }
    }),
  );

  it(
    "refuses a directory with something in it, a file in its place, pieces that are missing, damaged or of another model",
    withExample(async ({ manifest, locate }, directory) => {
      const options = { manifest, architecture: tiny, ...documents(directory), maximumShardBytes: 1e9, locate };
      await assert.rejects(exportVersion({ ...options, directory: join(directory, "base") }), failure("output-exists"));
      writeFileSync(join(directory, "file"), "");
      await assert.rejects(exportVersion({ ...options, directory: join(directory, "file") }), failure("file-missing"));
      await assert.rejects(exportVersion({ ...options, directory: join(directory, "file", "model") }), failure("file-missing"));
      const output = join(directory, "model");
      const piece = pieceNamed(manifest, "expert", expert);
      const without = (hash: string) => (hash === piece.hash ? undefined : locate(hash));
      await assert.rejects(exportVersion({ ...options, directory: output, locate: without }), failure("piece-missing"));
      const other = pieceNamed(manifest, "expert", expert.replace("2", "3"));
      const swapped = (hash: string) => locate(hash === piece.hash ? other.hash : hash);
      await assert.rejects(exportVersion({ ...options, directory: output, locate: swapped }), failure("piece-mismatch"));
      assert.ok(!readdirSync(directory).includes("model"));
      const { config, tokenizer, pieces } = manifest;
      const lacking = createManifest(config, tokenizer, pieces.slice(1));
      assert.throws(() => planExport(lacking, tiny, 1e9), failure("version-incomplete"));
      assert.throws(() => planExport(manifest, { ...tiny, experts: 3 }, 1e9), failure("version-incomplete"));
      // An empty directory is as good as none.
      mkdirSync(output);
      assert.equal((await exportVersion({ ...options, directory: output })).files, 1);
    }),
  );
});
