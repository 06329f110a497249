#!/usr/bin/env node
/** The command from its TypeScript sources: commands are found without the manifest, and of the rest only the kernels are compiled, where they changed. */
import { fileURLToPath } from "node:url";
import { register } from "tsx/esm/api";

register();
const { buildKernels } = await import("../scripts/kernels.ts");
const { main } = await import("../src/cli/main.ts");
const root = new URL("..", import.meta.url);
await buildKernels(fileURLToPath(root));
await main({ root, fromSources: true });
