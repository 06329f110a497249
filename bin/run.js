#!/usr/bin/env node
/**
 * The command as it is installed: runs what `npm run build` left in dist/. In a checkout that was never built it runs the
 * sources instead (slower to start), so that a fresh `npm ci` already leaves a working command.
 */
import { existsSync } from "node:fs";

const built = new URL("../dist/cli/main.js", import.meta.url);
if (existsSync(built)) {
  const { main } = await import(built.href);
  await main({ root: new URL("..", import.meta.url) });
} else {
  await import("./dev.js");
}
