/** Loads the module of every command without running it; prints how many there are. */
import { fileURLToPath } from "node:url";
import { Config } from "@oclif/core";

const config = await Config.load({ root: fileURLToPath(new URL("../../..", import.meta.url)) });
const own = config.commands.filter(({ pluginName }) => pluginName === "connito");
for (const command of own) await command.load();
console.log(own.length);
