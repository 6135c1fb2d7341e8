// The routes of the status page: figures of the last seconds and the last hour, and the commands for each.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
const { History, marked } = await import("../../proxy/admin/page/history.js");
const { routes } = await import("../../proxy/admin/page/routes.js");

const $ = (id) => document.getElementById(id);
const traffic = (requests, failed = 0) => ({
  requests, statuses: { "2xx": requests - failed, "5xx": failed }, durations: [requests, 0], received: 10 * requests, sent: 0, retries: 1,
});
const peer = (requests, more = {}) => ({
  peer: "127.0.0.1:1", state: "up", weight: 1, busy: 1, idle: 3, connects: 4, reuses: 96, failures: 0, probed: null, traffic: traffic(requests), ...more,
});
const route = (requests, more = {}) => ({
  name: "all", hosts: [], path: "/", exact: false, asks: [], answer: "", switched_from: [], maintenance: false, paused: false,
  traffic: traffic(requests, requests / 4), peers: [peer(requests)], ...more,
});
$("search").value = "";
const reading = (now, ...list) => ({ now, workers: [{ draining: false }, { draining: false }, { draining: true }], routes: list, maintenance: { all: false }, leaving: [], durations: { bounds: [0.01] } });
const row = (ends, good) => ({ route: "all", peer: "", good, refused: [0, 0], failed: [0, 5], p95: [4000, 0] });

test("a route shows what it matches, and commands for it and its peers", () => {
  const ordered = [];
  const one = route(8, { name: "one", hosts: ["a.example"], path: "/x", exact: true, asks: ["POST"], peers: [peer(8, { state: "draining", failures: 2 })] });
  routes([reading(1, route(8), one)], new History(), (...order) => ordered.push(order));
  const [all, exact] = $("routes").children;
  assert.equal($("routes-hint").textContent, "2 routes, 1 upstream");
  assert.deepEqual([all, exact].map((each) => each.all("span")[0].textContent), ["every host", "a.example, exactly /x, POST"]);
  assert.match(all.all("li")[0].textContent, /8 requests, 1 retry/);
  assert.match(exact.all("li")[0].textContent, /8 requests, 1 retry, 2 failed attempts/);
  assert.match(all.all("li")[0].textContent, /1 busy, 3 idle/);
  for (const button of [...all.all("button"), ...exact.all("button")]) button.listeners.click();
  assert.deepEqual(ordered, [
    ["maintenance", { on: true, route: "all" }],
    ["drain", { peer: "127.0.0.1:1", route: "all" }],
    ["maintenance", { on: true, route: "one" }],
    ["undrain", { peer: "127.0.0.1:1", route: "one" }],
  ]);
});

test("a route and its peers have the rate, the failing share and p95 of the last ten seconds", () => {
  routes([reading(0, route(100)), reading(20, route(100)), reading(25, route(180))], new History(), () => {});
  const [all] = $("routes").children;
  assert.equal(all.all("strong")[0].textContent, "16 /s · 25 % failing · p95 9.5 ms");
  assert.match(all.all("li")[0].textContent, /16 \/s · 0 % failing · p95 9.5 ms/);
});

test("a peer says since when and why it does not work, else its past outages", () => {
  const told = (more) => {
    routes([reading(100, route(8, { peers: [peer(8, more)] }))], new History(), () => {});
    const place = $("routes").children[0].all("li")[0].children[1].children[1];
    return [place.textContent, place.getAttribute("class")];
  };
  assert.deepEqual(told({ state: "down", since: 58, fault: "connection refused" }), ["down for 42 s: connection refused", "hint bad"]);
  assert.deepEqual(told({ since: 99, fault: "reset" }), ["failing for 1 s: reset", "hint bad"]);
  assert.deepEqual(told({ probed: 98, outages: 2, downtime: 90 }), ["probed 2 s ago · 2 outages, 1 min in all", "hint"]);
});

test("a search shows the routes that have the text, and peers say their bound", () => {
  const list = ["one", "two", "three", "four"].map((name) => route(8, { name, queued: 3, peers: [peer(8, { limit: 10, state: name === "two" ? "down" : "up" })] }));
  routes([reading(1, ...list)], new History(), () => {});
  assert.equal($("search").hidden, false);
  assert.equal($("routes").children.length, 4);
  assert.match($("routes").children[0].textContent, /8 requests, 1 retry · 3 waiting/);
  assert.match($("routes").children[0].textContent, /1 of 20 busy/);
  for (const [text, names] of [["DOWN", ["two"]], ["thr", ["three"]], ["nothing", []]]) {
    $("search").value = text;
    routes([reading(1, ...list)], new History(), () => {});
    assert.deepEqual($("routes").children.map((one) => one.route.name), names);
  }
  $("search").value = "";
});

test("a route without requests in the last seconds says no latency", () => {
  routes([reading(0, route(100)), reading(5, route(100))], new History(), () => {});
  assert.equal($("routes").children[0].all("strong")[0].textContent, "0 /s · 0 % failing");
});

test("history adds new rows to those it has, and forgets what is older than an hour", () => {
  const history = new History();
  const document = (ends, good) => ({ ends, lengths: ends.map(() => 5), whole: { good, p95: good.map(() => 2000) }, series: [row(ends, good)], marks: [] });
  history.add(document([5, 10], [10, 20]));
  assert.deepEqual(history.points("all").map((one) => [one.time, one.rate, one.failed, one.p95]), [[5, 2, 0, 0.004], [10, 5, 1, 0]]);
  assert.deepEqual(history.whole.map((one) => one.p95), [0.002, 0.002]);
  assert.equal(history.last, 10);
  history.add(document([3700, 3705], [0, 0]));
  assert.deepEqual(history.whole.map((one) => one.time), [3700, 3705]);
  assert.deepEqual(history.points("all", "nowhere"), []);
  history.forget();
  assert.equal(history.last, 0);
});

test("history is asked for every five seconds, from the last row on", async () => {
  const history = new History();
  const asked = [];
  const ask = (path) => { asked.push(path); return { ends: [7], lengths: [5], whole: { good: [1] }, series: [], marks: [] }; };
  for (const now of [100, 101, 104.9, 105, 110]) await history.refresh(ask, now);
  assert.deepEqual(asked, ["/history.json?since=0", "/history.json?since=7", "/history.json?since=7"]);
});

test("what was done is listed, the newest first", () => {
  marked([{ when: 10, kind: "reload", text: "settings reloaded" }, { when: 100, kind: "fault", text: "worker 7 died" }], 130);
  const items = $("marks").children;
  assert.deepEqual(items.map((one) => [one.getAttribute("class"), one.textContent]), [
    ["fault", "worker 7 died30 s ago"], ["reload", "settings reloaded2 min ago"],
  ]);
});
