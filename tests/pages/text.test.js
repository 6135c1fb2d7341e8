// Values of the console that come from elsewhere, as text: whatever they are, something readable comes out.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ago, list, number, span, text } from "../../aragora/server/console/dom.js";
import { percent } from "../../aragora/server/console/words.js";

for (const [value, expected] of [["a", "a"], [null, ""], [undefined, ""], [3, "3"], [false, "false"]])
  test(`text of ${String(value)}`, () => assert.equal(text(value), expected));

for (const [value, expected] of [[0.5, "50%"], [2, "100%"], [-1, "0%"], [Number.NaN, "0%"], [undefined, "0%"]])
  test(`percent of ${value}`, () => assert.equal(percent(value), expected));

for (const [value, expected] of [[0, "0 s"], [59.4, "59 s"], [61, "1 min 1 s"], [undefined, "0 s"]])
  test(`a span of ${value} seconds`, () => assert.equal(span(value), expected));

test("what is no list is an empty one, what is no number is the other", () => {
  assert.deepEqual(list("abc"), []);
  assert.deepEqual(list([1]), [1]);
  assert.equal(number("7", 3), 3);
  assert.equal(number(7, 3), 7);
});

for (const [seconds, expected] of [[10, "just now"], [120, "2 min ago"], [7200, "2 h ago"]])
  test(`${seconds} seconds ago`, () => assert.equal(ago(new Date(Date.now() - 1000 * seconds).toISOString()), expected));
