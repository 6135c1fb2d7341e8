// Which failed requests are shown: by cause, route and status.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
const { choose, failing } = await import("../../proxy/admin/page/filters.js");

const $ = (id) => document.getElementById(id);
const row = (when, reason, route, status) => ({
  when, seconds: 1, status, method: "GET", target: `/${when}`, client: "", route, upstream: "a:1", reason, request_id: String(when), state: "done",
});
const READING = {
  now: 100, access_log: true,
  failing: [row(9, "rate", "api", 429), row(8, "rate", "site", 429), row(7, "", "api", 500), row(6, "connect_refused", "api", 502)],
};
const shown = () => $("failing").tBodies[0].children.map((line) => line.children[3].textContent);
const options = (id) => $(id).children.map((one) => one.textContent);

for (const id of ["by-cause", "by-route", "by-status"]) $(id).value = "";

test("each choice counts what it would show", () => {
  failing(READING);
  assert.deepEqual(options("by-cause"), ["every cause", "connect refused (1)", "rate (2)", "response of the application (1)"]);
  assert.deepEqual(options("by-route"), ["every route", "api (3)", "site (1)"]);
  assert.deepEqual(options("by-status"), ["every status", "429 (2)", "500 (1)", "502 (1)"]);
  assert.equal(shown().length, 4);
});

test("what is chosen together is shown", () => {
  choose("by-route", "api");
  assert.deepEqual(shown(), ["GET /9", "GET /7", "GET /6"]);
  choose("by-status", "429");
  assert.deepEqual(shown(), ["GET /9"]);
  assert.equal($("failing-hint").textContent, "1 of 4");
  $("by-status").value = "";
  choose("by-route", "");
  assert.equal(shown().length, 4);
});

test("a choice stays while no request fits it", () => {
  choose("by-cause", "rate");
  failing({ ...READING, failing: READING.failing.slice(2) });
  assert.deepEqual(shown(), []);
  assert.equal($("failing-empty").textContent, "None of this kind.");
  assert.ok(options("by-cause").includes("rate (0)"));
  choose("by-cause", "");
});
