/**
 * The arrows of docs/architecture.md, held by `npm run arch`: imports run downwards only, adapters do not import each other, the
 * protocol is pure, and heavy packages have one door each.
 */

const room = (...names) => `^src/(${names.join("|")})/`;
const adapters = ["model", "data", "chain", "exchange", "external", "workspace", "ui"];

/** The files beside the rooms: errors for all, the disk (files/), threads and waiting for all but the rules. */
const shared = (name) => (name === "protocol" ? ["errors[.]ts"] : ["errors[.]ts", "files/[^/]+[.]ts", "threads[.]ts", "waiting[.]ts"]);

/** The only rooms, and the only files, that a room may import from: anything else under src/ is an arrow that does not exist. */
const mayImport = (name, ...targets) => ({
  name: `${name}-imports`,
  comment: `${name}/ may import ${targets.length === 0 ? "nothing of the project" : targets.join(", ")} and ${shared(name).join(", ")}.`,
  severity: "error",
  from: { path: room(name) },
  to: { path: "^src/", pathNot: [room(name, ...targets), `^src/(${shared(name).join("|")})$`, "[.]d[.]ts$"] },
});

/** A package that is heavy to load, and the one place that may name it. Type-only imports cost nothing and are free. */
const oneDoor = (packages, place) => ({
  name: `door-to-${place.replace(/[^a-z]+/g, "-").replace(/^-|-$/g, "")}`,
  comment: `${packages} is imported in ${place} only, so that nothing else loads it.`,
  severity: "error",
  from: { path: "^src/", pathNot: place },
  to: { path: `^node_modules/(${packages})(/|$)`, dependencyTypesNot: ["type-only"] },
});

module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      comment: "But among operators: each has its gradient beside it, and a product's gradient is made of sums as a sum's is of products.",
      severity: "error",
      from: { pathNot: "^src/engine/graph/operators/" },
      to: { circular: true },
    },
    { name: "no-missing", severity: "error", from: {}, to: { couldNotResolve: true } },
    {
      name: "no-development-packages",
      comment: "What is installed with the package must be among its dependencies.",
      severity: "error",
      from: { path: "^src/" },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"], dependencyTypesNot: ["type-only"] },
    },

    mayImport("protocol"),
    mayImport("kernels"),
    ...adapters.map((name) => mayImport(name, "protocol", "kernels")),
    mayImport("engine", "protocol", "kernels", "model"),
    mayImport("steps", "protocol", "kernels", "engine", ...adapters),
    mayImport("cycle", "steps", "protocol", "engine", ...adapters),
    mayImport("cli", "steps", "protocol", ...adapters),
    {
      name: "demo-is-a-user",
      comment: "demo/ plays every role by running commands as processes; only its own command may know it.",
      severity: "error",
      from: { path: "^src/", pathNot: room("demo", "commands") },
      to: { path: room("demo") },
    },
    {
      name: "simulate-is-a-user",
      comment: "simulate/ plays every role on the steps that are shipped; only its own command may know it.",
      severity: "error",
      from: { path: "^src/", pathNot: room("simulate", "commands") },
      to: { path: room("simulate") },
    },
    {
      name: "errors-import-nothing",
      severity: "error",
      from: { path: "^src/errors[.]ts$" },
      to: { path: "." },
    },
    {
      name: "files-import-errors",
      severity: "error",
      from: { path: room("files") },
      to: { path: "^src/", pathNot: [room("files"), "^src/errors[.]ts$"] },
    },
    {
      name: "threads-and-waiting-import-nothing",
      severity: "error",
      from: { path: "^src/(threads|waiting)[.]ts$" },
      to: { path: "^src/" },
    },
    {
      name: "protocol-is-pure",
      comment:
        "No input, no output, no clock, no randomness: of Node's modules only the hash functions, of packages only schemas and encodings.",
      severity: "error",
      from: { path: room("protocol") },
      to: { pathNot: ["^src/", "^(node:)?crypto$", "^node_modules/(valibot|@valibot|canonicalize)/"] },
    },

    oneDoor("@polkadot-api/[^/]+|@polkadot/wasm-crypto|@noble/[^/]+", "^src/chain/packages/"),
    oneDoor("@polkadot/[^/]+", "^src/chain/(localnet|packages)/"),
    oneDoor("onnxruntime-node|koffi", "^src/engine/runtime/"),
    oneDoor("hono|@hono/[^/]+", "^src/exchange/"),
    oneDoor("@huggingface/[^/]+|hyparquet|hyparquet-compressors", "^src/data/"),
    oneDoor("inquirer", "^src/cli/prompts[.]ts$"),
    oneDoor("ora|asciichart", "^src/ui/"),
    oneDoor("execa", "^src/(demo|external)/"),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    // AssemblyScript, which its own compiler reads.
    exclude: { path: "^src/kernels/assembly/" },
    // An import of a type is an arrow as well: it says what a room has to know.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] },
  },
};
