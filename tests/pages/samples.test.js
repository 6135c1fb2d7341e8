// Samples of a request in three languages, and the address and response of one that is tried. That they run is tested by
// pytest.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bounds, prose, type } from "../../aragora/server/console/schemas.js";
import { curl, javascript, python } from "../../aragora/server/console/samples.js";
import { address, readable } from "../../aragora/server/console/trial.js";
import { install } from "./elements.js";

install();
const POST = { method: "POST", url: "http://h/api", body: { question: "It's $HOME?", on: true, none: null, list: [1, {}], empty: [] }, token: true };

test("curl quotes a body for the shell, and leaves the token to the environment", () => {
  const [first, ...rest] = curl(POST).split(" \\\n  ");
  assert.equal(first, "curl -X POST 'http://h/api'");
  assert.equal(rest[0], '-H "Authorization: Bearer $ARAGORA_API_TOKEN"');
  assert.ok(curl(POST).includes("It'\\''s $HOME?"));
  assert.equal(curl({ method: "GET", url: "http://h/", token: false }), "curl 'http://h/'");
});

test("Python has its own words for true and nothing", () => {
  const written = python(POST);
  for (const part of ['"on": True,', '"none": None,', "            1,\n            {},", '"empty": [],', "os.environ['ARAGORA_API_TOKEN']"]) assert.ok(written.includes(part), part);
  assert.ok(!python({ method: "GET", url: "http://h/", token: false }).includes("os"));
});

test("JavaScript sends the body as JSON", () => {
  assert.match(javascript(POST), /"Content-Type": "application\/json"/);
  assert.ok(!javascript({ method: "GET", url: "http://h/", token: false }).includes("headers"));
});

test("an address takes the values of its path and query, escaped, and leaves out what is empty", () => {
  const parameters = [{ name: "id", in: "path" }, { name: "q", in: "query" }, { name: "limit", in: "query" }, { name: "Key", in: "header" }];
  assert.equal(address("/d/{id}/x", parameters, { id: "a/b", q: "ä &", limit: "", Key: "k" }), "/d/a%2Fb/x?q=%C3%A4+%26");
  assert.equal(address("/d/{id}", parameters, { id: "" }), "/d/{id}");
});

test("JSON is laid out, and anything else is left as it is", () => {
  assert.equal(readable('{"a":1}', "application/json"), '{\n  "a": 1\n}');
  assert.equal(readable("{", "application/json"), "{");
  assert.equal(readable('{"a":1}', "text/plain"), '{"a":1}');
  assert.equal(readable("x", null), "x");
});

test("a type is told with links to models", () => {
  const told = (schema) => type(schema).map((part) => part.textContent ?? part).join("");
  assert.equal(told({ anyOf: [{ $ref: "#/x/Page" }, { type: "null" }] }), "Page | null");
  assert.equal(told({ type: "object", additionalProperties: { type: "number" } }), "{name: number}");
  assert.equal(told({ type: "object", additionalProperties: true }), "object");
  assert.equal(told({ type: "string", format: "date-time" }), "date-time");
  assert.equal(told({ const: "vote" }), '"vote"');
  assert.equal(told({ allOf: [{ type: "string" }, { type: "array", items: {} }] }), "string & any[]");
  assert.equal(told(undefined), "");
});

test("bounds stand beside the type, also those of a value that may be null", () => {
  assert.equal(bounds({ anyOf: [{ type: "string", maxLength: 9 }, { type: "null" }], default: null }), "characters ≤ 9");
  assert.equal(bounds({ type: "integer", minimum: 1, default: 3 }), "≥ 1, default 3");
});

test("words between backticks are code", () => {
  assert.deepEqual(prose("say `x` now").map((part) => part.textContent ?? part), ["say ", "x", " now"]);
  assert.deepEqual(prose(undefined), []);
});
