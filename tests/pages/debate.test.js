// A debate folded from its events: the order in which they come from the log is the order in which they are applied.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { install } from "./elements.js";

install();
let drawing = [];
globalThis.requestAnimationFrame = (draw) => drawing.push(draw);
const { DebateView } = await import("../../aragora/server/console/debate.js");

const $ = (id) => document.getElementById(id);
const RECORD = {
  id: "d1", task: "Which?", agents: ["x-1", "x-2"], rounds: 1, consensus: "majority", status: "running",
  in_progress: true, duration_seconds: null,
};
const steps = () => $("steps").children.map((step) => `${step.textContent}:${step.getAttribute("class")}`);
let view;
let seq = 0;

function apply(type, { agent = null, round = 0, ...data } = {}) {
  seq += 1;
  view.apply({ type, seq, agent, round, timestamp: 0, data });
}

function frame() {
  for (const draw of drawing) draw();
  drawing = [];
}

beforeEach(() => {
  drawing = [];
  install();
  view = new DebateView(RECORD);
});

test("the steps follow the rounds up to the vote", () => {
  apply("debate_start");
  assert.deepEqual(steps(), ["Proposals:now", "Round 1:next", "Vote:next"]);
  for (const agent of RECORD.agents) apply("agent_message", { agent, role: "proposer", content: "this" });
  apply("critique", { agent: "x-1", round: 1, target: "x-2", severity: 4, issues: ["vague"] });
  assert.deepEqual(steps(), ["Proposals:done", "Round 1:now", "Vote:next"]);
  apply("vote", { agent: "x-1", round: 1, choice: "x-2", confidence: 0.9 });
  assert.deepEqual(steps(), ["Proposals:done", "Round 1:done", "Vote:now"]);
});

test("votes are counted by choice, the last of each agent, and people's beside", () => {
  for (const agent of RECORD.agents) apply("agent_message", { agent, role: "proposer", content: "this" });
  apply("vote", { agent: "x-1", round: 1, choice: "x-1", confidence: 0.5 });
  apply("vote", { agent: "x-1", round: 1, choice: "x-2", confidence: 0.9 });
  apply("vote", { agent: "x-2", round: 1, choice: "x-2", confidence: 1 });
  apply("user_vote", { choice: "x-1" });
  const rows = $("votes").children.map((row) => [row.firstElementChild.textContent, row.all("strong")[0].textContent]);
  assert.deepEqual(rows, [["x-2", "2"], ["x-1", "1"]]);
  assert.equal($("votes-hint").hidden, false);
});

test("agents keep their places whoever speaks first, and rounds their order", () => {
  apply("agent_message", { agent: "x-2", round: 1, role: "critic", content: "revised" });
  apply("agent_message", { agent: "x-1", role: "proposer", content: "first" });
  const [proposals, round] = $("rounds-view").children;
  assert.deepEqual([proposals, round].map((one) => one.getAttribute("aria-label")), ["Proposals", "Round 1"]);
  assert.deepEqual(proposals.all("h3").map((one) => one.textContent), ["x-1"]);
  assert.deepEqual(round.all("h3").map((one) => one.textContent), ["x-1", "x-2"]);
});

test("words that arrive before their message are replaced by it, late ones change nothing", () => {
  view.delta({ data: { agent: "x-1", purpose: "propose", text: "hal", offset: 0 } });
  view.delta({ data: { agent: "x-1", purpose: "propose", text: "f" } });
  frame();
  assert.equal(view.card(0, "x-1").said.textContent, "half");
  apply("agent_message", { agent: "x-1", role: "proposer", content: "whole" });
  view.delta({ data: { agent: "x-1", purpose: "propose", text: " and more" } });
  frame();
  assert.equal(view.card(0, "x-1").said.textContent, "whole");
});

test("an event of an unknown type or form changes nothing", () => {
  const before = $("rounds-view").textContent;
  apply("something_new", { agent: "x-1" });
  view.apply({ type: "user_suggestion_of_tomorrow", data: null });
  assert.equal($("rounds-view").textContent, before);
});

test("what was not reached when a debate fails is skipped", () => {
  apply("debate_start");
  apply("debate_end", { status: "failed", reason: "no agent answered" });
  assert.deepEqual(steps(), ["Proposals:done", "Round 1:skipped", "Vote:skipped"]);
  assert.equal($("status").dataset.status, "failed");
  assert.equal($("cancel").hidden, true);
});
