// The certificates on the status page: which are shown, and what is said of those that end soon.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
const { certificates, onDemand } = await import("../../proxy/admin/page/certificates.js");

const NONE = { enabled: false, names: 0, certificates: [], refused: [] };
const NOW = 1e9;
const DAY = 86400;
// A row of /status.json: so many days are left of a lifetime of so many.
const lasting = (name, days, lifetime) => {
  const expires = NOW + days * DAY;
  return { name, days: Math.floor(days), expires, begins: expires - lifetime * DAY };
};
const $ = (id) => document.getElementById(id);
const rows = (id) => $(id).children.map((row) => row.children.map((part) => part.textContent));

test("a certificate is marked when little of its life is left or it could not be renewed", () => {
  const all = [lasting("gone", -1, 90), lasting("last", 6, 90), lasting("soon", 10, 90), lasting("faulty", 80, 90), lasting("fine", 80, 90)];
  certificates({ now: NOW, certificates: all, certificate_faults: [{ name: "faulty", fault: "no answer" }], on_demand: NONE });
  assert.deepEqual($("certificates").children.map((one) => one.getAttribute("data-kind")), ["upstream", "upstream", "gateway", "gateway", "fine"]);
  assert.deepEqual(rows("certificates").map((row) => row[2]), ["expired", "6 days", "10 days", "80 days", "80 days"]);
  assert.match(rows("certificates")[3][3], /; no answer$/);
});

test("one of six days is marked in the last quarter of its life", () => {
  certificates({ now: NOW, certificates: [0.4, 0.9, 1.4, 2].map((days) => lasting(`n${days}`, days, 6)), certificate_faults: [], on_demand: NONE });
  assert.deepEqual($("certificates").children.map((one) => one.getAttribute("data-kind")), ["upstream", "gateway", "gateway", "fine"]);
  assert.equal($("expiry").textContent, "The certificate n0.4 expires in less than a day.");
});

test("the certificate that expires first is told above all, and never left out", () => {
  const many = Array.from({ length: 20 }, (_, number) => lasting(`n${number}`, 60 - number, 90));
  certificates({ now: NOW, certificates: many, certificate_faults: [], on_demand: NONE });
  assert.equal($("expiry").hidden, true);
  assert.equal(rows("certificates")[0][0], "n19");
  assert.equal($("certificates-hint").textContent, "the 12 of 20 that expire first");
  certificates({ now: NOW, certificates: [...many, lasting("soon", 3, 90)], certificate_faults: [], on_demand: NONE });
  assert.deepEqual([$("expiry").hidden, $("expiry").textContent], [false, "The certificate soon expires in 3 days."]);
  certificates({ now: NOW, certificates: [lasting("gone", -1, 90)], certificate_faults: [], on_demand: NONE });
  assert.equal($("expiry").textContent, "The certificate gone has expired.");
});

test("one on demand is told above all only if it was to be renewed", () => {
  const row = { ...lasting("shop.test", 3, 90), fault: "" };
  const all = { now: NOW, certificates: [lasting("fine", 60, 90)], certificate_faults: [] };
  certificates({ ...all, on_demand: { ...NONE, certificates: [row] } });
  assert.equal($("expiry").hidden, true);
  certificates({ ...all, on_demand: { ...NONE, certificates: [{ ...row, fault: "no answer" }] } });
  assert.deepEqual([$("expiry").hidden, $("expiry").textContent], [false, "The certificate shop.test expires in 3 days."]);
});

test("of names on demand those that expire first are shown, with what is wrong", () => {
  const names = Array.from({ length: 20 }, (_, number) => ({ ...lasting(`n${number}`, 30 + number, 90), fault: number ? "" : "no answer" }));
  onDemand({ now: NOW, on_demand: { ...NONE, enabled: true, names: 300, certificates: names } });
  assert.equal($("on-demand").hidden, false);
  assert.equal($("demanded-hint").textContent, "the 12 of 300 that expire first");
  assert.deepEqual(rows("demanded").slice(0, 2).map(([name, , value]) => [name, value]), [["n0", "30 days"], ["n1", "31 days"]]);
  assert.match(rows("demanded")[0][3], /; no answer$/);
  assert.equal($("demanded").children[0].getAttribute("data-kind"), "gateway");
});

test("names that got none say why", () => {
  const refused = [{ name: "a.test", when: 90, outcome: "failed", reason: "no such zone" }, { name: "b.test", when: 40, outcome: "denied", reason: "" }, { name: "c.test", when: 40, outcome: "new", reason: "" }];
  onDemand({ now: 100, on_demand: { ...NONE, enabled: true, refused } });
  const cells = $("refused").tBodies[0].children.map((row) => row.children.map((cell) => cell.textContent));
  assert.deepEqual(cells, [
    ["10 s ago", "a.test", "the CA issued none: no such zone"],
    ["1 min ago", "b.test", "the service of on_demand_ask said no"],
    ["1 min ago", "c.test", "new"],
  ]);
  onDemand({ now: 100, on_demand: NONE });
  assert.equal($("on-demand").hidden, true);
});
