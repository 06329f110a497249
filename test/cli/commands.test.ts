/** The whole surface of commands: what is generated from it is fresh, and every command keeps the promises made for all. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "@oclif/core";
import { toJsonSchema } from "@valibot/to-json-schema";
import { freshReadme, loadCommands, manifestText, root } from "../../scripts/command-surface.ts";
import type { BaseCommand } from "../../src/cli/base-command.ts";

const manifest: { commands: Record<string, Command.Cached> } = JSON.parse(readFileSync(join(root, "oclif.manifest.json"), "utf8"));

describe("commands", () => {
  it("stand in oclif.manifest.json as the sources have them: `npm run manifest`", async () => {
    const fresh = await manifestText();
    assert.ok((await readFile(join(root, "oclif.manifest.json"), "utf8")) === fresh, "run `npm run manifest`");
  });

  it("stand in the README as the sources have them: `npm run readme`", async () => {
    const readme = await readFile(join(root, "README.md"), "utf8");
    assert.equal(readme, await freshReadme(readme));
  });

  for (const [id, command] of Object.entries(manifest.commands)) {
    describe(id.replaceAll(":", " "), () => {
      it("says what it does, and shows it with an example that is itself", () => {
        assert.ok((command.summary ?? command.description ?? "").length > 10);
        const texts = [command.examples ?? []].flat().map((example) => (typeof example === "string" ? example : example.command));
        const names = ["<%= command.id %>", id.replaceAll(":", " ")];
        assert.ok(
          texts.some((text) => names.some((name) => text.includes(`<%= config.bin %> ${name}`))),
          `examples: ${texts.join("; ")}`,
        );
      });

      it("takes the flags that all commands take, and explains each of its own", () => {
        for (const name of ["json", "state-dir", "network", "no-input"]) assert.ok(name in command.flags, name);
        assert.equal(command.flags["state-dir"]?.env, "CONNITO_STATE_DIR");
        for (const flag of Object.values(command.flags)) assert.ok(flag.summary ?? flag.description, `--${flag.name}`);
      });
    });
  }

  it("state the shape of their results", async () => {
    const { commands } = await loadCommands();
    for (const { id, load } of commands) {
      const { resultSchema } = (await load()) as unknown as typeof BaseCommand;
      const schema = toJsonSchema(resultSchema(), { errorMode: "ignore" });
      // A command whose flags choose between results says each of them.
      for (const one of schema.anyOf ?? [schema]) {
        assert.ok(typeof one === "object" && one.type === "object", id);
        assert.ok(Object.keys(one.properties ?? {}).length > 0, id);
      }
    }
  });
});
