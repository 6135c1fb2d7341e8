// The catalogue: every text of the console has a German one with the same places for values, and none is left over.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { words } from "../../aragora/server/console/de.js";
import { isolated, n, t } from "../../aragora/server/console/words.js";

const FOLDER = new URL("../../aragora/server/console/", import.meta.url);
const read = (name) => readFileSync(new URL(name, FOLDER), "utf8");
const PAGES = readdirSync(FOLDER).filter((name) => name.endsWith(".html") && name !== "docs.html");
const REFUSALS = readFileSync(new URL("../../aragora/server/problems.py", import.meta.url), "utf8");
const SCRIPTS = readdirSync(FOLDER).filter((name) => name.endsWith(".js") && !["de.js", "words.js", "docs.js", "samples.js", "schemas.js", "trial.js"].includes(name));

function used() {
  const found = new Set();
  for (const source of SCRIPTS.map(read)) {
    for (const match of source.matchAll(/\bt\(\s*"([^"]*)"/g)) found.add(match[1]);
    for (const match of source.matchAll(/\bn\([^"]*?"([^"]*)",\s*"([^"]*)"/g)) found.add(match[1]).add(match[2]);
  }
  for (const [, title] of REFUSALS.matchAll(/^ +\d{3}: "([A-Z][^"]*)"/gm)) found.add(title);
  for (const [, attributes, names, content] of PAGES.map(read).join("\n").matchAll(/<\w+([^>]*\bdata-t\b(?:="([^"]*)")?[^>]*)>([^<]*)/g)) {
    for (const name of (names || "").split(" ").filter(Boolean)) found.add(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)[1]);
    if (content.trim() && !content.startsWith("$")) found.add(content.trim().replace(/\s+/g, " "));
  }
  return found;
}

test("every text has a German one", () => {
  assert.deepEqual([...used()].filter((key) => !(key in words)), []);
});

test("no German text is left over", () => {
  const everything = [...SCRIPTS, ...PAGES].map(read).join("\n") + REFUSALS;
  assert.deepEqual(Object.keys(words).filter((key) => !used().has(key) && !everything.includes(`"${key}"`) && !everything.includes(`${key}:`) && !new RegExp(`\\b${key}\\b`).test(everything)), []);
});

test("German texts have the places of the English ones", () => {
  const places = (text) => (text.match(/\{\w+\}/g) || []).sort().join();
  for (const [english, german] of Object.entries(words)) assert.equal(places(german), places(english), english);
});

test("values take their places, and one thing is not many", () => {
  assert.equal(t("{a} of {b}", { a: 1, b: "{a}" }), "1 of {a}");
  assert.equal(t("{missing}", {}), "{missing}");
  assert.deepEqual([n(1, "{count} vote", "{count} votes"), n(0, "{count} vote", "{count} votes")], ["1 vote", "0 votes"]);
});

test("names that are read from right to left keep their place in a sentence", () => {
  assert.equal(t("The answer of {name}", { name: "مدقق" }), "The answer of \u2068مدقق\u2069");
  assert.deepEqual(["Architect", "主席", 3].map(isolated), ["Architect", "主席", "3"]);
});
