/**
 * Makes again what transformers says of small models: the golden files of test/engine/goldens (generate.py: what it computes) and those of
 * test/model/families/structure (structure.py: what it saves), how packed weights are unpacked (packed.py), and steps of Muon (muon.py). With `--check` they are compared instead: numbers may differ as far as two builds of PyTorch
 * round differently, all else must be equal. PyTorch and transformers are installed from PyPI, in the versions of requirements.txt, into a virtual environment
 * under the system's temporary directory; `--python FILE`, or CONNITO_GOLDENS_PYTHON, names an interpreter that has them already.
 *
 *     npm run goldens -- [--check] [--python FILE] [FAMILY ...]
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const here = import.meta.dirname;
const committed = join(here, "../../test/engine/goldens");
/** Largest difference of two numbers, absolute for those below one. */
const tolerance = 1e-5;

const { values, positionals: families } = parseArgs({
  options: { check: { type: "boolean", default: false }, python: { type: "string" } },
  allowPositionals: true,
});

function run(program: string, parameters: readonly string[]): void {
  execFileSync(program, parameters, { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, CUDA_VISIBLE_DEVICES: "" } });
}

/** An interpreter with the packages, installed where there is none yet. */
function interpreter(): string {
  const given = values.python ?? process.env["CONNITO_GOLDENS_PYTHON"];
  if (given !== undefined) return given;
  const environment = join(tmpdir(), "connito-goldens-venv");
  const python = join(environment, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
  if (!existsSync(python)) run("python3", ["-m", "venv", environment]);
  run(python, ["-m", "pip", "install", "--quiet", "--requirement", join(here, "requirements.txt")]);
  return python;
}

const floats = (text: string) => [...new Float32Array(Uint8Array.from(Buffer.from(text, "base64")).buffer)];

/** Where two documents differ, beyond rounding. */
function differences(path: string, a: unknown, b: unknown): string[] {
  if (typeof a === "number" && typeof b === "number") {
    return Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a)) ? [] : [`${path}: ${a} and ${b}`];
  }
  if (typeof a === "string" && typeof b === "string" && /\.(logits|whole)$/.test(path)) return differences(path, floats(a), floats(b));
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return a === b ? [] : [`${path}: ${JSON.stringify(a)} and ${JSON.stringify(b)}`];
  }
  const [left, right] = [a, b] as [Record<string, unknown>, Record<string, unknown>];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].flatMap((key) => differences(`${path}.${key}`, left[key], right[key]));
}

const python = interpreter();
const target = values.check ? mkdtempSync(join(tmpdir(), "connito-goldens-")) : committed;
try {
  run(python, [join(here, "structure.py"), ...(values.check ? ["--check"] : []), ...families]);
  run(python, [join(here, "packed.py"), ...(values.check ? ["--check"] : [])]);
  run(python, [join(here, "muon.py"), ...(values.check ? ["--check"] : [])]);
  run(python, [join(here, "generate.py"), join(here, "cases.json"), target, ...families]);
  if (values.check) {
    const read = (directory: string, file: string) => JSON.parse(readFileSync(join(directory, file), "utf8"));
    const made = readdirSync(target).sort();
    const found = made.flatMap((file) => {
      if (!existsSync(join(committed, file))) return [`${file} is not committed`];
      return differences(file, read(committed, file), read(target, file));
    });
    if (families.length === 0)
      found.push(...readdirSync(committed).flatMap((file) => (made.includes(file) ? [] : [`${file} is not made`])));
    for (const difference of found.slice(0, 20)) console.log(difference);
    console.log(found.length === 0 ? `${made.length} golden files are as transformers computes them` : `${found.length} differences`);
    process.exitCode = found.length === 0 ? 0 : 1;
  }
} finally {
  if (values.check) rmSync(target, { recursive: true, force: true });
}
