// The certificates on the status page: which are shown, and what is said of those that end soon.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
const { certificates, onDemand } = await import("../../proxy/admin/page/certificates.js");

const NONE = { enabled: false, names: 0, certificates: [], refused: [] };
const $ = (id) => document.getElementById(id);
const rows = (id) => $(id).children.map((row) => row.children.map((part) => part.textContent));

test("a certificate is marked when it ends soon or could not be renewed", () => {
  const certificate = (name, days) => ({ name, days, expires: 0 });
  certificates({
    certificates: [certificate("gone", -1), certificate("soon", 10), certificate("faulty", 80), certificate("fine", 80)],
    certificate_faults: [{ name: "faulty", fault: "no answer" }],
    on_demand: NONE,
  });
  assert.deepEqual($("certificates").children.map((one) => one.getAttribute("data-kind")), ["upstream", "gateway", "gateway", "fine"]);
  assert.deepEqual(rows("certificates").map((row) => row[2]), ["expired", "10 days", "80 days", "80 days"]);
  assert.match(rows("certificates")[2][3], /; no answer$/);
});

test("the certificate that expires first is told above all, and never left out", () => {
  const many = Array.from({ length: 20 }, (_, number) => ({ name: `n${number}`, days: 60 - number, expires: 6000 - number }));
  certificates({ certificates: many, certificate_faults: [], on_demand: NONE });
  assert.equal($("expiry").hidden, true);
  assert.equal(rows("certificates")[0][0], "n19");
  assert.equal($("certificates-hint").textContent, "the 12 of 20 that expire first");
  certificates({ certificates: [...many, { name: "soon", days: 3, expires: 1 }], certificate_faults: [], on_demand: NONE });
  assert.deepEqual([$("expiry").hidden, $("expiry").textContent], [false, "The certificate soon expires in 3 days."]);
  certificates({ certificates: [{ name: "gone", days: -1, expires: 1 }], certificate_faults: [], on_demand: NONE });
  assert.equal($("expiry").textContent, "The certificate gone has expired.");
});

test("one on demand is told above all only if it was to be renewed", () => {
  const row = { name: "shop.test", days: 3, expires: 1, fault: "" };
  const all = { certificates: [{ name: "fine", days: 60, expires: 60 }], certificate_faults: [] };
  certificates({ ...all, on_demand: { ...NONE, certificates: [row] } });
  assert.equal($("expiry").hidden, true);
  certificates({ ...all, on_demand: { ...NONE, certificates: [{ ...row, fault: "no answer" }] } });
  assert.deepEqual([$("expiry").hidden, $("expiry").textContent], [false, "The certificate shop.test expires in 3 days."]);
});

test("of names on demand those that expire first are shown, with what is wrong", () => {
  const names = Array.from({ length: 20 }, (_, number) => ({ name: `n${number}`, days: 30 + number, expires: number, fault: number ? "" : "no answer" }));
  onDemand({ now: 100, on_demand: { ...NONE, enabled: true, names: 300, certificates: names } });
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
