/**
 * Compiles src/kernels/assembly to dist/kernels/kernels.wasm, unless what lies there is newer than its sources and this file. Part of
 * `npm run build`; bin/dev.js does the same before it runs the sources.
 */
import { statSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const sources = "src/kernels/assembly";
const output = "dist/kernels/kernels.wasm";

const options = [
  ...["--optimizeLevel", "3", "--shrinkLevel", "0", "--converge", "--noAssert"],
  // SIMD is in every Node that runs this; relaxed SIMD, whose results differ between machines, stays off.
  ...["--enable", "simd", "--runtime", "stub"],
  // src/kernels/module.ts brings the memory, 4 MiB or more.
  ...["--importMemory", "--initialMemory", "64", "--maximumMemory", "65536"],
];

/** Brings the compiled kernels of the checkout at `root` up to date. Throws with the compiler's words. */
export async function buildKernels(root: string): Promise<void> {
  const files = (await readdir(join(root, sources))).map((name) => join(root, sources, name));
  const newest = Math.max(...[...files, fileURLToPath(import.meta.url)].map((file) => statSync(file).mtimeMs));
  const built = statSync(join(root, output), { throwIfNoEntry: false });
  if (built !== undefined && built.mtimeMs >= newest) return;
  const { default: asc } = await import("assemblyscript/asc");
  await mkdir(dirname(join(root, output)), { recursive: true });
  const { error, stderr } = await asc.main([`${sources}/index.ts`, "--baseDir", root, "--outFile", output, ...options]);
  if (error !== null) throw new Error(`the kernels do not compile:\n${stderr.toString()}`, { cause: error });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await buildKernels(fileURLToPath(new URL("..", import.meta.url)));
