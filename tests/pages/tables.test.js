// The lists of the status page: what becomes of a reading, and which elements stay when the next one comes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
const { sync } = await import("../../proxy/admin/page/dom.js");
const { containers, failures, listeners, requests, settings, tunnels, workers } = await import("../../proxy/admin/page/tables.js");

const $ = (id) => document.getElementById(id);
const rows = (id) => $(id).children.map((row) => row.children.map((part) => part.textContent));

function keyed(parent, names) {
  sync(parent, names, (name) => name, () => document.createElement("li"), (item, name) => { item.textContent = name; });
  return parent.children;
}

test("elements are kept by key, moved when the order changes, and removed with their item", () => {
  const list = document.createElement("ul");
  const [a, b, c] = keyed(list, ["a", "b", "c"]);
  assert.deepEqual(keyed(list, ["c", "a", "d"]).map((one) => [c, a, b].indexOf(one)), [0, 1, -1]);
  assert.equal(b.parentElement, null);
});

test("items of the same key have an element each", () => {
  const list = document.createElement("ul");
  const first = keyed(list, ["a", "a"]);
  assert.equal(first.length, 2);
  assert.deepEqual(keyed(list, ["a", "a"]), first);
});

test("failures are measured by the most frequent one, and say what is recent", () => {
  const failure = (reason, count, limit = false) => ({ reason, count, side: "client", message: `text of ${reason}`, limit });
  const before = { failures: [failure("gone_away", 30)] };
  failures({ failures: [failure("gone_away", 40), failure("too_many", 10, true)] }, before);
  assert.deepEqual(rows("failures").map(([name, , value, note]) => [name, value, note]), [
    ["gone away", "40", "text of gone_away · 10 in the last three minutes"],
    ["too many", "10", "text of too_many · 10 in the last three minutes"],
  ]);
  assert.equal($("failures").children[1].children[1].firstElementChild.style.width, "25%");
  assert.equal($("limits").children[0].children[1].firstElementChild.style.width, "100%");
});

test("settings that differ are a table, for those who may see it", () => {
  settings({ settings: [{ route: "", name: "workers", value: "2", default: "cores" }, { route: "api", name: "rate", value: "5/s", default: "off" }] });
  const cells = $("settings").tBodies[0].children.map((row) => row.children.map((cell) => cell.textContent));
  assert.deepEqual(cells, [["workers", "2", "cores"], ["rate of api", "5/s", "off"]]);
  settings({ settings: null });
  assert.equal($("settings-empty").textContent, "They are shown to those with the token.");
});

test("each listener says for which clients it is", () => {
  listeners({ listeners: [{ role: "front", address: "https://[::]:443" }, { role: "control", address: "/run/x.sock" }] });
  assert.deepEqual(rows("listeners"), [["https://[::]:443", "clients"], ["/run/x.sock", "commands"]]);
});

test("a worker shows how busy it is, and whether it leaves", () => {
  const worker = { pid: 7, draining: true, current: true, utilisation: 0.256, requests: 1, connections: { active: 1, idle: 2, tunnel: 3 } };
  workers({ workers: [worker], master: { pid: 1, replaces: 9 } });
  assert.deepEqual(rows("workers"), [["7", "", "26 %", "6 connections, 1 request, draining"]]);
  assert.equal($("workers-hint").textContent, "master 1; the old master 9 still runs");
});

test("requests of clients that may not be shown are told apart from those over a socket", () => {
  const request = { when: 90, seconds: 0.25, status: 502, method: "GET", target: "/a", upstream: "", reason: "", state: "", request_id: "1" };
  const reading = { now: 100, access_log: true, failing: [{ ...request, client: null }, { ...request, client: "", request_id: "2", route: "api", status: 0, reason: "read_timeout" }] };
  requests("failing", reading);
  const cells = $("failing").tBodies[0].children.map((row) => row.children.map((cell) => cell.textContent));
  assert.deepEqual(cells, [
    ["10 s ago", "250 ms", "502", "GET /a", "hidden (needs the token)", "–", "–", "response of the application", "", "1"],
    ["10 s ago", "250 ms", "none", "GET /a", "unix socket", "api", "–", "read timeout", "", "2"],
  ]);
});

test("the oldest tunnels are shown, with the number of all", () => {
  const tunnel = { since: 40, target: "/ws", client: "192.0.2.1", upstream: "127.0.0.1:1", to_client: 1500, to_upstream: 0, state: "half_closed" };
  tunnels({ now: 100, tunnels: [tunnel], connections: { tunnel: 3 } });
  const cells = $("tunnels").tBodies[0].children[0].children.map((cell) => cell.textContent);
  assert.deepEqual(cells, ["1 min", "/ws", "192.0.2.1", "127.0.0.1:1", "1.5 kB", "0 B", "half closed"]);
  assert.equal($("tunnels-hint").textContent, "the oldest 1 of 3");
});

test("what follows containers is told in a line, with the first of its faults", () => {
  const seen = { daemon: "unix:///run/docker.sock", state: "connected", since: 40, heard: 99, fault: "", containers: 1, faults: [] };
  const told = (more) => {
    containers({ now: 100, services: [{ labelled: true }, { labelled: false }], containers: more && { ...seen, ...more } });
    return $("containers").textContent;
  };
  told(null);
  assert.equal($("containers").hidden, true);
  assert.equal(told({}), "Containers of unix:///run/docker.sock: followed for 1 min, 1 container with labels, 1 service");
  assert.equal($("containers").hidden, false);
  assert.match(told({ faults: ["shop: no port", "api: no port"] }), /; shop: no port, and 1 other fault$/);
  assert.equal($("containers").getAttribute("data-kind"), "warn");
  assert.match(told({ state: "away", fault: "refused" }), /: not followed for 1 min, services stay as they are; refused$/);
  assert.match(told({ state: "silent", heard: 60 }), /: aragora-proxy containers was last heard 40 s ago, services stay as they are$/);
  assert.equal($("containers").getAttribute("data-kind"), "bad");
});
