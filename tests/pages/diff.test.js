// What changed between two answers of an agent.

import assert from "node:assert/strict";
import { test } from "node:test";

import { changes, kept } from "../../aragora/server/console/diff.js";

const short = (before, after) => changes(before, after).map((part) => `${{ same: "=", gone: "-", new: "+" }[part.kind]}${part.text}`).join("|");

for (const [before, after, expected] of [
  ["same words", "same words", "=same words"],
  ["", "new", "+new"],
  ["gone", "", "-gone"],
  ["Wait a year.", "Wait a month.", "=Wait a |-year|+month|=."],
  ["a b c d", "a x c d y", "=a |-b|+x|= c d|+ y"],
  ["保留資料庫", "保留大資料庫", "=保留|+大|=資料庫"],
]) test(`${before} > ${after}`, () => assert.equal(short(before, after), expected));

test("both texts can be put together again from their changes", () => {
  const before = "One *two* three.\n\n- four\n- five";
  const after = "One two three!\n\n- five\n- six, seven";
  const parts = changes(before, after);
  assert.equal(parts.filter((part) => part.kind !== "new").map((part) => part.text).join(""), before);
  assert.equal(parts.filter((part) => part.kind !== "gone").map((part) => part.text).join(""), after);
});

test("texts that are too long are not compared", () => {
  const words = (seed) => Array.from({ length: 3000 }, (_, at) => `${seed}${at}`).join(" ");
  assert.equal(changes(words("a"), words("b")), null);
  assert.deepEqual(changes(words("a"), words("a")), [{ kind: "same", text: words("a") }]);
});

test("the share that was kept", () => {
  assert.equal(kept(changes("a b", "a b")), 1);
  assert.equal(kept(changes("aa", "bb")), 0);
});
