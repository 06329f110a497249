#!/usr/bin/env node
/** The command from its TypeScript sources: nothing to build, and commands are found without the manifest. */
import { register } from "tsx/esm/api";

register();
const { main } = await import("../src/cli/main.ts");
await main({ root: new URL("..", import.meta.url), fromSources: true });
