/** The commands as the sources define them, for what is generated from them: the manifest and the README's list. */

import { fileURLToPath } from "node:url";
import type { Command, Config } from "@oclif/core";
import { Plugin } from "@oclif/core";
import { loadConfig } from "../src/cli/main.ts";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** oclif's description of the sources' commands. Needs a loader for TypeScript. */
export async function loadCommands(): Promise<{ config: Config; commands: Command.Loadable[] }> {
  const config = await loadConfig(root, true);
  const commands = config.commands.filter(({ pluginName }) => pluginName === "connito").sort((a, b) => (a.id < b.id ? -1 : 1));
  return { config, commands };
}

/** The text of oclif.manifest.json. Paths are those of the built files; defaults that differ between machines are left out. */
export async function manifestText(): Promise<string> {
  const { config } = await loadCommands();
  const plugin = new Plugin({
    root: config.root,
    pjson: config.pjson,
    isRoot: true,
    ignoreManifest: true,
    errorOnManifestCreate: true,
    respectNoCacheDefault: true,
  });
  await plugin.load();
  const commands = Object.entries(plugin.manifest.commands).sort(([a], [b]) => (a < b ? -1 : 1));
  const built = commands.map(([id, command]) => [
    id,
    { ...command, relativePath: ["dist", ...(command.relativePath ?? [])].map((part) => part.replace(/\.ts$/, ".js")) },
  ]);
  return `${JSON.stringify({ commands: Object.fromEntries(built), version: plugin.manifest.version }, undefined, 2)}\n`;
}

/** What replaces the text between the README's markers: each command under its topic, with its first sentence. */
export async function commandList(): Promise<string> {
  const { config, commands } = await loadCommands();
  const rows = commands
    .filter(({ hidden }) => !hidden)
    .map(({ id, summary, description, args }) => {
      const positional = Object.values(args).map(({ name, required }) => (required ? name.toUpperCase() : `[${name.toUpperCase()}]`));
      const usage = [config.bin, id.replaceAll(":", " "), ...positional].join(" ");
      return `| \`${usage}\` | ${(summary ?? description ?? "").split("\n")[0]?.replaceAll("|", "\\|")} |`;
    });
  return ["| command | does |", "|---|---|", ...rows].join("\n");
}

const markers = { begin: "<!-- commands -->", end: "<!-- /commands -->" } as const;

/** The README with a fresh list. @throws where the markers are missing, because then nothing would ever be replaced. */
export async function freshReadme(readme: string): Promise<string> {
  const begin = readme.indexOf(markers.begin);
  const end = readme.indexOf(markers.end);
  if (begin === -1 || end < begin) throw new Error(`README.md needs ${markers.begin} and ${markers.end}.`);
  return `${readme.slice(0, begin + markers.begin.length)}\n${await commandList()}\n${readme.slice(end)}`;
}
