/** Records in TRACE_FILE every module that the process loads: imports through a resolve hook, requires when it ends. */
import { appendFileSync } from "node:fs";
import { createRequire, register } from "node:module";

register("./hooks.mjs", import.meta.url);
const { cache } = createRequire(import.meta.url);
process.on("exit", () => appendFileSync(process.env.TRACE_FILE, Object.keys(cache).join("\n")));
