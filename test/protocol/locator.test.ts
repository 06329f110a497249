import assert from "node:assert/strict";
import { isLocator, parseLocator } from "../../src/protocol/locator.ts";

describe("locator", () => {
  it("takes the three forms", () => {
    assert.deepEqual(parseLocator("http://10.0.0.1:8080"), { kind: "http", text: "http://10.0.0.1:8080", target: "http://10.0.0.1:8080" });
    assert.equal(parseLocator("https://validator.example").kind, "https");
    assert.equal(parseLocator("https://validator.example:9000").kind, "https");
    assert.equal(parseLocator("http://[::1]:80").kind, "http");
    assert.deepEqual(parseLocator("file:/srv/connito/été"), { kind: "file", text: "file:/srv/connito/été", target: "/srv/connito/été" });
  });

  it("refuses everything else", () => {
    const wrong = [
      "",
      "http://host",
      "http://host:0",
      "http://host:65536",
      "http://host:1/",
      "http://host:1/path",
      "http://user@host:1",
      "http://user:password@host:1",
      "http://host:1?query",
      "http://host:1#part",
      "http://-host:1",
      "http://[::g]:1",
      "HTTP://host:1",
      "ftp://host:1",
      "file:relative",
      "file://host/path",
      "file:///path",
      "file:/a\nb",
      "file:/a\0",
      "file:/\ud800",
      " http://host:1",
      "http://host:1\n",
    ];
    for (const text of wrong) {
      assert.equal(isLocator(text), false, JSON.stringify(text));
      assert.throws(() => parseLocator(text), { code: "locator-invalid" });
    }
    assert.equal(isLocator(undefined), false);
  });
});
