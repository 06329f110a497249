import assert from "node:assert/strict";
import { mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { writeWhole } from "../../src/files/replacing.ts";
import { withOutput } from "../../src/steps/output-lock.ts";
import { failsWith, inTemporaryDirectory } from "../workspace/support.ts";

describe("steps/output-lock", () => {
  for (const [what, name, kind] of [
    ["a file without a name", "", "file"],
    ["a directory without a name", "", "directory"],
    ["a file that ends with a separator", "slice/", "file"],
    ["a file called as a directory is", "slice/..", "file"],
    ["a file whose name leaves no room for those beside it", "s".repeat(211), "file"],
    ["a directory whose name leaves no room, in letters of two bytes", "é".repeat(106), "directory"],
  ] as const) {
    it(`refuses ${what} before any work, and makes nothing`, () =>
      inTemporaryDirectory(async (directory) => {
        const output = name === "" ? "" : join(directory, "parent", "/").concat(name);
        const { exit, hint } = await failsWith(
          "usage",
          withOutput(output, kind, () => assert.fail("worked")),
        );
        assert.deepEqual([exit, hint.length > 0, readdirSync(directory)], [2, true, []]);
      }));
  }

  it("refuses a directory in a file's place", () =>
    inTemporaryDirectory(async (directory) => {
      mkdirSync(join(directory, "there"));
      await failsWith(
        "file-irregular",
        withOutput(join(directory, "there"), "file", () => assert.fail("worked")),
      );
    }));

  it("keeps a second process out of a directory that it knows by a link", () =>
    inTemporaryDirectory(async (directory) => {
      mkdirSync(join(directory, "there"));
      symlinkSync("there", join(directory, "link"));
      await withOutput(join(directory, "there"), "directory", async () => {
        await failsWith(
          "output-busy",
          withOutput(join(directory, "link"), "directory", () => assert.fail("worked")),
        );
      });
    }));

  it("takes the longest name that there is room for", () =>
    inTemporaryDirectory(async (directory) => {
      const name = "s".repeat(210);
      const output = join(directory, name);
      await withOutput(output, "file", () => writeWhole(output, Buffer.from("x")));
      assert.deepEqual(readdirSync(directory), [name]);
      await withOutput(`${join(directory, "made")}/`, "directory", async () => mkdirSync(join(directory, "made")));
    }));
});
