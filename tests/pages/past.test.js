// Past debates: what is marked in them, and which piece of an answer is shown.

import assert from "node:assert/strict";
import { test } from "node:test";

Object.assign(globalThis, { location: { protocol: "https:", host: "example.org" } });
const { marked, snippet, wanted } = await import("../../aragora/server/console/past.js");

test("a search is words", () => assert.deepEqual(wanted("  Region  servi "), ["region", "servi"]));

test("found words are marked wherever they stand, and signs are no patterns", () => {
  assert.deepEqual(marked("A region, a Service", ["servi", "region"]), [
    { text: "A ", found: false }, { text: "region", found: true }, { text: ", a ", found: false }, { text: "Servi", found: true }, { text: "ce", found: false },
  ]);
  assert.deepEqual(marked("a.b (c", [".", "("]).filter((part) => part.found).map((part) => part.text), [".", "("]);
  assert.deepEqual(marked("abc", []), [{ text: "abc", found: false }]);
});

test("a piece of the answer is shown where the title does not say it", () => {
  const answer = `${"before ".repeat(20)}the outbox table${" after".repeat(60)}`;
  assert.match(snippet(answer, "Event sourcing?", ["outbox"]), /^….*outbox.*…$/);
  assert.equal(snippet(answer, "An outbox?", ["outbox"]), "");
  assert.equal(snippet(answer, "Title", ["nowhere"]), "");
});
