// The cache on the status page: what is stored, how much was found there, and the commands that remove it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
const { cache, purging } = await import("../../proxy/admin/page/cache.js");
const { History } = await import("../../proxy/admin/page/history.js");

const $ = (id) => document.getElementById(id);
const traffic = (requests) => ({ requests, statuses: { "2xx": requests }, durations: [requests, 0], received: 0, sent: 0, retries: 0 });
const route = (requests, cached, more = {}) => ({ name: "all", traffic: traffic(requests), cached: cached === null ? null : traffic(cached), ...more });
const reading = (now, ...routes) => ({
  now, routes, durations: { bounds: [0.01] },
  totals: { cache_hits: 60, cache_stale: 10, cache_validated: 10, cache_misses: 20 },
  cache: { entries: 7, bytes: 5e6, most_entries: 100, most_bytes: 1e7, hit_rate: 0.8 },
});
const row = (peer, good) => ({ route: "all", peer, good, refused: [0, 0], failed: [0, 0], p95: [1000, 1000] });

test("a gateway that stores nothing shows nothing of a cache", () => {
  cache([reading(1, route(8, null))], new History());
  assert.equal($("cache").hidden, true);
});

test("what is stored is beside its bound, and what was found beside all that was asked for", () => {
  cache([reading(1, route(8, 6))], new History());
  assert.equal($("cache").hidden, false);
  assert.equal($("cache-hint").textContent, "80 % found since the start");
  const bars = $("stored").children.map((bar) => [bar.children[0].textContent, bar.children[1].firstElementChild.style.width, bar.children[2].textContent]);
  assert.deepEqual(bars, [
    ["stored", "50%", "5 MB"], ["hits", "60%", "60"], ["stale", "10%", "10"], ["validated", "10%", "10"], ["misses", "20%", "20"],
  ]);
  assert.equal($("stored").children[0].children[3].textContent, "of 10 MB · 7 responses of 100");
});

test("a route has the share of the last ten seconds, its sums, and a line of the last hour", () => {
  const history = new History();
  history.add({ ends: [100, 160], lengths: [5, 5], whole: {}, series: [row("", [50, 50]), row("cache", [50, 20])], marks: [] });
  cache([reading(0, route(100, 50)), reading(10, route(200, 140)), reading(10.5, route(200, 140), route(9, null, { name: "other" }))], history);
  const [line, ...others] = $("cached").children;
  assert.deepEqual(others, []);
  assert.equal(line.children[0].textContent, "all");
  assert.equal(line.children[1].textContent, "90 % of 9.5 /s found · 140 of 200 requests");
  const label = () => $("cached").children[0].children[2].firstElementChild.getAttribute("aria-label");
  assert.equal(label(), "Found for route all: 40 % in the last minute, at least 40 % in the last hour");
  cache([reading(11, route(200, 140))], new History());
  assert.equal(label(), "Found for route all: nothing yet");
});

test("each kind of removal is a command of its own", () => {
  const ordered = [];
  Object.assign($("purge-by"), { value: "url" });
  Object.assign($("purge-what"), { value: " /page " });
  purging((...order) => ordered.push(order));
  let prevented = 0;
  for (const kind of ["url", "prefix", "tag", "all"]) {
    $("purge-by").value = kind;
    $("purge-by").listeners.change();
    assert.equal($("purge-what").hidden, kind === "all");
    $("purge").listeners.submit({ preventDefault: () => { prevented += 1; } });
  }
  assert.equal(prevented, 4);
  assert.deepEqual(ordered, [
    ["purge", { url: "/page" }], ["purge", { prefix: "/page" }], ["purge", { tag: "/page" }], ["purge", { all: true }],
  ]);
});
