// No module of the pages is without a test of what it computes.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const ROOT = new URL("../../", import.meta.url);
const PAGES = ["proxy/admin/page/", "aragora/server/console/"];
// What only joins a page's elements, or asks how they are laid out, is tested by pytest in a browser.
const IN_A_BROWSER = new Set([
  ...["documents.js", "page.js"].map((name) => `proxy/admin/page/${name}`),
  ...["actions.js", "ask.js", "console.js", "live.js", "notices.js", "problem.js", "status.js", "theme.js"].map((name) => `aragora/server/console/${name}`),
]);
const here = new URL("tests/pages/", ROOT);
const tests = readdirSync(here).filter((name) => name.endsWith(".test.js")).map((name) => readFileSync(new URL(name, here), "utf8")).join("");

for (const page of PAGES)
  for (const name of readdirSync(new URL(page, ROOT)).filter((one) => one.endsWith(".js")))
    test(`${page}${name} has a test`, { skip: IN_A_BROWSER.has(page + name) && "tested in a browser" }, () => {
      assert.ok(tests.includes(`"../../${page}${name}"`), `no test imports ${page}${name}; write one beside this file`);
    });
