// The button that asks the council's models: each once, and each with what came of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
globalThis.localStorage = { getItem: () => null };
globalThis.sessionStorage = { getItem: () => null };
const { distinct, probe } = await import("../../aragora/server/console/probe.js");

test("a model that several agents have is asked once", () => {
  const agents = [{ type: "openai", model: "a", name: "x" }, { type: "openai", model: "a" }, { type: "openai" }, { type: "demo" }];
  assert.deepEqual(distinct(agents), [{ type: "openai", model: "a" }, { type: "openai" }, { type: "demo" }]);
});

test("one model's failure takes nothing from the others", async () => {
  globalThis.fetch = async (_, { body }) => {
    const { type, model } = JSON.parse(body);
    if (type === "gone") return { ok: false, status: 429, json: async () => ({ error: { message: "too many" } }) };
    const ok = model !== "broken";
    return { ok: true, json: async () => ({ type, model: model || "usual", ok, seconds: 0.25, message: ok ? null : "out of order" }) };
  };
  await probe([{ type: "openai" }, { type: "openai", model: "broken" }, { type: "gone", model: "x" }]);
  const rows = document.getElementById("probe-results").children;
  assert.deepEqual(rows.map((row) => row.textContent), ["openai · usual answers, in 0.3 s", "openai · broken out of order", "gone · x too many"]);
  assert.deepEqual(rows.map((row) => row.dataset.state), ["good", "bad", "bad"]);
  assert.equal(document.getElementById("probe").disabled, false);
});
