// A verdict in words: whose answer, how many votes of how many, how sure, and what it lacks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { certainty, headline, named, remarks, title } from "../../aragora/server/console/verdict.js";

const DECIDED = { reached: true, choice: "gpt-1", support: { votes: 2, of: 3 }, votes: { "gpt-1": 2, "gpt-2": 1 }, confidence: 0.7 };

for (const [verdict, mode, expected] of [
  [DECIDED, "majority", "The answer of gpt-1 · 2 of 3 votes"],
  [{ ...DECIDED, support: { votes: 1, of: 1 } }, "majority", "The answer of gpt-1 · 1 of 1 vote"],
  [{ ...DECIDED, alike: { "gpt-1": ["gpt-1", "gpt-3"] } }, "majority", "The answer of gpt-1, gpt-3 · 2 of 3 votes"],
  [{ ...DECIDED, votes: { "gpt-1": 3 }, support: { votes: 3, of: 3 } }, "majority", "The answer of gpt-1 · given by 3 of 3 agents"],
  [DECIDED, "judge", "The answer of gpt-1 · chosen by the judge"],
  [{ ...DECIDED, support: { votes: 0, of: 1 } }, "judge", "The answer of gpt-1 · not chosen by the judge"],
  [DECIDED, "borda", "The answer of gpt-1 · ranked first by 2 of 3"],
  [{ reached: false, choice: "gpt-1" }, "majority", "The answer of gpt-1"],
  [{ reached: false, choice: null }, "none", "Nobody was asked to decide."],
  [{}, "majority", ""],
]) test(`a verdict by ${mode} reads "${expected}"`, () => assert.equal(headline(verdict, mode), expected));

test("a title says whether there is a consensus", () => {
  assert.deepEqual([title({ reached: true }, "majority"), title({ reached: false }, "majority"), title({}, "none")], ["Consensus", "No consensus", "Answers side by side"]);
});

for (const [share, word] of [[1, "very sure"], [0.7, "sure"], [0.5, "fairly sure"], [0.2, "unsure"], [undefined, "unsure"]])
  test(`a confidence of ${share} is ${word}`, () => assert.equal(certainty(share), word));

test("remarks say why it stopped early, ties, and what is missing", () => {
  const found = remarks({
    stopped_early: "the answers are 100% alike", tied: true, tie_break: "lot", took_part: { agents: 2, of: 3 },
    degraded: [{ agent: "a", purpose: "vote", kind: "timeout", message: "it took too long" }, { agent: "b", kind: "cut", message: "" }],
  });
  assert.deepEqual(found.map(([kind]) => kind), ["early", "tie", "lack", "lack", "lack"]);
  assert.equal(found[0][1], "Stopped early: the answers were 100% alike.");
  assert.equal(found[2][1], "2 of 3 agents took part in full.");
  assert.equal(found[3][1], "a failed at voting: it took too long");
  assert.equal(found[4][1], "The answer of b is not whole.");
  assert.equal(remarks({ stopped_early: "all votes agree" })[0][1], "Stopped early: all votes agreed.");
  assert.deepEqual(remarks({}), []);
});

test("letters in reasons get the names of their authors", () => {
  assert.equal(named("Answer B beats answers A; proposal C is none", ["x", "y"]), "Answer B (y) beats answers A (x); proposal C is none");
  assert.equal(named(undefined, undefined), "");
});
