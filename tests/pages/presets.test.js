// Councils to choose from: what a click hands to the form, and what is sent when one is kept or forgotten.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { install } from "./elements.js";

Object.assign(globalThis, { sessionStorage: { getItem: () => null }, localStorage: { getItem: () => null } });
const KEPT = [
  { name: "a/b", description: "of mine", is_own: true, body: { agents: ["x"], rounds: 2 } },
  { name: "theirs", description: "of others", is_own: false, body: null },
];
let asked = [];
globalThis.fetch = async (path, { method, body }) => {
  asked.push([method, path, body]);
  return { ok: true, json: async () => ({ presets: KEPT }) };
};
install();
const { Presets } = await import("../../aragora/server/console/presets.js");

let presets;
const applied = [];
const buttons = () => document.getElementById("presets").all("button");
const named = (name) => buttons().find((button) => button.textContent === name);

beforeEach(async () => {
  install();
  applied.length = 0;
  presets = new Presets((agents, rules) => applied.push([agents, rules]), assert.fail);
  await presets.load();
  asked = [];
});

test("a council that is kept is applied with its agents and rules", () => {
  named("a/b").listeners.click();
  named("theirs").listeners.click();
  assert.deepEqual(applied, [[["x"], KEPT[0].body], [[], {}]]);
});

test("a council of ours leaves the models open", () => {
  named("Two models and a judge").listeners.click();
  assert.deepEqual(applied, [[[{ type: "" }, { type: "" }, { type: "", role: "judge" }], { consensus: "judge" }]]);
});

test("only one's own council can be forgotten, by its whole name", async () => {
  const [forget, ...others] = buttons().filter((button) => button.getAttribute("class") === "chip-remove");
  assert.deepEqual(others, []);
  await forget.listeners.click();
  assert.deepEqual(asked[0], ["DELETE", "/api/presets/a%2Fb", undefined]);
  assert.equal(asked[1][1], "/api/presets", "they are read again");
});
