// The charts of both pages: where values come to lie, and what a reader who cannot see them is told.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
globalThis.ResizeObserver = class { observe() {} };
const { Chart, linear } = await import("../../proxy/admin/page/charts.js");
const { bars, line, ring } = await import("../../aragora/server/console/charts.js");

const SERIES = [
  { name: "ok", kind: "good", value: (one) => one.ok },
  { name: "failed", kind: "failed", value: (one) => one.failed },
];
const POINTS = [{ time: 0, ok: 2, failed: 0 }, { time: 90, ok: 4, failed: 4 }, { time: 180, ok: null, failed: 1 }];

function chart(stacked) {
  const plot = Object.assign(document.createElement("div"), {
    clientWidth: 278, clientHeight: 132, getBoundingClientRect: () => ({ left: 0 }),
  });
  const legend = document.createElement("ul");
  const made = new Chart(plot, legend, SERIES, { stacked, text: String, scale: linear(10), what: "Requests" });
  made.show(POINTS);
  return { plot, legend, path: (kind) => plot.all("path").filter((one) => one.getAttribute("class") === kind).map((one) => one.getAttribute("d").replace(/[\d.]+/g, (number) => Math.round(number))) };
}

// 200 px wide for 180 s from x = 62, 100 px high for 0 to 10 from y = 110 upwards.
test("lines go through their values, and stop where there is none", () => {
  assert.deepEqual(chart(false).path("line good"), ["M62 90L162 70"]);
  assert.deepEqual(chart(false).path("line failed"), ["M62 110L162 70L262 100"]);
});

test("a layer lies on the sum of those below it", () => {
  assert.deepEqual(chart(true).path("line"), ["M62 90L162 70L262 110"]);
  assert.deepEqual(chart(true).path("band"), ["M62 90L162 30L262 100L262 110L162 70L62 90Z"]);
});

test("the legend has the last values, or those under the pointer", () => {
  const { plot, legend } = chart(false);
  const told = () => legend.children.map((one) => one.children.map((part) => part.textContent).join(""));
  assert.deepEqual(told(), ["oknull", "failed1"]);
  plot.listeners.pointermove({ clientX: 160 });
  assert.deepEqual(told(), ["ok4", "failed4", "90 s ago"]);
  plot.listeners.pointerleave();
  assert.deepEqual(told(), ["oknull", "failed1"]);
});

test("a chart is labelled with its last values", () => {
  assert.equal(chart(false).plot.firstElementChild.getAttribute("aria-label"), "Requests: ok null, failed 1");
});

for (const [share, filled] of [[0.5, 0.5], [7, 1], [-1, 0], ["high", 0]])
  test(`a ring of ${share} is filled by ${filled}`, () => {
    const value = ring(share, "sure").all("circle").at(-1).getAttribute("stroke-dasharray").split(" ").map(Number);
    assert.ok(Math.abs(value[0] / value[1] - filled) < 1e-9);
  });

test("the widest bar is that of the most votes, those of people included", () => {
  const votes = [
    { choice: "a", color: "agent-0", people: 2, voters: [{ name: "b", confidence: 0.8 }, { name: "c", confidence: 1 }] },
    { choice: "b", color: "agent-1", people: 0, voters: [{ name: "a", confidence: 0.5 }] },
    { choice: "c", color: "agent-2", people: 0, voters: [] },
  ];
  const rows = bars(votes);
  assert.deepEqual(rows.map((row) => row.all("span")[2].style.width), ["100%", "25%", "0%"]);
  assert.deepEqual(rows.map((row) => row.all("strong")[0].textContent), ["4", "1", "0"]);
  assert.match(rows[0].textContent, /\(80.?% sure\) · c \(100.?% sure\) · 2 from people$/);
});

test("a curve has a point for each round, within the frame whatever the similarity", () => {
  const made = line([{ round: 1, similarity: 0 }, { round: 2, similarity: 3 }, { round: 3, similarity: undefined }], 0.85);
  const places = made.all("circle").map((dot) => [dot.getAttribute("cx"), dot.getAttribute("cy")].map(Number));
  assert.deepEqual(places.map(([, y]) => y), [120, 8, 120]);
  assert.ok(places[0][0] < places[1][0] && places[1][0] < places[2][0]);
});
