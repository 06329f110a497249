import assert from "node:assert/strict";
import { describeLocation, fieldsOf, fillTemplate, parseSource } from "../../../src/data/sources/source.ts";

describe("data/sources/source", () => {
  it("reads what an owner writes, and takes the rest from the name", () => {
    const text = { format: "text", template: "{text}", endOfText: false };
    const rows = (format: string) => ({ format, template: "{text}", endOfText: true });
    const hash = "ab".repeat(32);
    const cases: [string, object][] = [
      ["a.txt", { location: "a.txt", ...text }],
      ["notes", { location: "notes", ...text }],
      ["a.jsonl", { location: "a.jsonl", ...rows("jsonl") }],
      ["dir/A.NDJSON.gz", { location: "dir/A.NDJSON.gz", ...rows("jsonl") }],
      ["https://host/a.parquet?download=true", { location: "https://host/a.parquet?download=true", ...rows("parquet") }],
      ["a.jsonl#field=body&end=none", { location: "a.jsonl", format: "jsonl", template: "{body}", endOfText: false }],
      ["a.log#format=jsonl&template=%23%20{title}%0A{text}", { location: "a.log", ...rows("jsonl"), template: "# {title}\n{text}" }],
      ["a.txt#end=eos", { location: "a.txt", ...text, endOfText: true }],
      [`a.txt#sha256=${hash}`, { location: "a.txt", ...text, sha256: hash }],
      ["chapter #3.txt", { location: "chapter #3.txt", ...text }],
      ["chapter#3.jsonl#field=body", { location: "chapter#3.jsonl", ...rows("jsonl"), template: "{body}" }],
    ];
    for (const [written, expected] of cases) assert.deepEqual(parseSource(written), expected, written);
  });

  it("refuses what it would otherwise pass over", () => {
    const wrong = [
      ...["a.txt#column=text", "a.jsonl#format=csv", "a.jsonl#field=a&template={b}", "a.jsonl#template=none", "a.txt#field=text"],
      ...["a.txt#end=maybe", "a.txt#sha256=12", "#field=a", "a.jsonl#field=%zz", "https://host/a.jsonl#body"],
    ];
    for (const written of wrong) assert.throws(() => parseSource(written), { code: "source-malformed", exit: 2 }, written);
  });

  it("keeps what may be secret out of messages", () => {
    assert.equal(describeLocation("https://me:password@host/a.parquet?token=secret"), "https://host/a.parquet");
    assert.throws(
      () => parseSource("https://me:password@host/a.parquet?token=secret#what=1"),
      (error: Error) => !/password|secret/.test(error.message),
    );
  });

  it("fills a template with each field where it stands", () => {
    assert.deepEqual(fieldsOf("{a}: {b}{a}"), ["a", "b", "a"]);
    assert.equal(
      fillTemplate("{a}: {b}{a}", (field) => `$&${field}`),
      "$&a: $&b$&a",
    );
  });
});
