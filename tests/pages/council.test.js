// Seats of a council: what is asked for, and which names agents get that have none.

import assert from "node:assert/strict";
import { test } from "node:test";

Object.assign(globalThis, { location: { protocol: "https:", host: "example.org" } });
const { asked, names, seated } = await import("../../aragora/server/console/council.js");

test("a seat asks for what was filled in, and for nothing else", () => {
  assert.deepEqual(asked(seated("openai")), { type: "openai" });
  const whole = { type: "openai", name: "Ann", model: "gpt", role: "an engineer", persona: "Old.", effort: "low" };
  assert.deepEqual(asked(seated(whole)), whole);
  assert.deepEqual(asked({ ...seated("openai"), name: "  ", role: " a " }), { type: "openai", role: "a" });
});

test("an office is a role", () => {
  assert.deepEqual([seated({ type: "x", role: "judge" }).office, seated({ type: "x", role: "chairman" }).office], ["judge", "chairman"]);
  assert.deepEqual(asked({ ...seated("x"), office: "judge", role: "an engineer" }), { type: "x", role: "judge" });
});

test("agents without a name are counted beside those that have one", () => {
  const seats = [seated("gpt"), seated({ type: "gpt", name: "gpt-2" }), seated("gpt"), seated("demo")];
  assert.deepEqual(names(seats), ["gpt-1", "gpt-2", "gpt-3", "demo-1"]);
});
