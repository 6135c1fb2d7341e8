// One agent's place in a round: the clock, failed attempts, and what others hold against its answer.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
const { AgentCard, elapsed } = await import("../../aragora/server/console/card.js");

for (const [seconds, expected] of [[-5, "0 s"], [0.9, "0 s"], [89.9, "89 s"], [90, "1 min"], [3600, "60 min"]])
  test(`a clock of ${seconds} seconds reads ${expected}`, () => assert.equal(elapsed(seconds), expected));

test("critiques are counted, with the worst severity that was given", () => {
  const card = new AgentCard("x-1", "agent-0", 0);
  card.criticised("x-2", "agent-1", { issues: ["no source"] });
  assert.equal(card.critiques.firstChild.textContent, "1 critique");
  card.criticised("x-3", "agent-2", { severity: 4, issues: ["vague"], suggestions: ["shorten"] });
  card.criticised("x-4", "agent-3", { severity: 40 });
  assert.equal(card.critiques.firstChild.textContent, "3 critiques, worst 10 of 10");
  assert.deepEqual(card.critiques.all("li").map((one) => one.textContent), ["no source", "vague", "shorten"]);
  assert.equal(card.critiques.hidden, false);
});

test("an agent that is asked again goes on, one that is not has failed", () => {
  const card = new AgentCard("x-1", "agent-0", 0);
  card.fails("timed out", true);
  assert.deepEqual([card.busy, card.state.textContent], [true, "is asked again"]);
  card.fails("timed out", false);
  assert.deepEqual([card.busy, card.state.textContent], [false, "failed"]);
  assert.equal(card.failures.firstChild.textContent, "2 failed attempts");
});

test("an answer that was cut says why, and a failure after it takes nothing from it", () => {
  const card = new AgentCard("x-1", "agent-0", 0);
  card.says({ content: "half an", model: "m", cut: "length" });
  card.fails("timed out", false);
  assert.equal(card.said.textContent, "half anThis answer is not whole: its limit of tokens was reached.");
  assert.equal(card.state.textContent, "m");
});
