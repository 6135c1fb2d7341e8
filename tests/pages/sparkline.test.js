// The lines of the last hour beside each route and peer.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
const { sparkline } = await import("../../proxy/admin/page/sparkline.js");

const POINTS = [{ time: 5, rate: 2, failed: 0 }, { time: 10, rate: 5, failed: 1 }];
const drawn = (points) => {
  const place = document.createElement("span");
  sparkline(place, points, "Requests of route all");
  return place;
};

test("a sparkline says in words what it shows", () => {
  const label = (points) => drawn(points).firstElementChild.getAttribute("aria-label");
  assert.equal(label(POINTS), "Requests of route all: at most 3.5 a second in the last hour, failures in 1 minute");
  assert.equal(label(POINTS.slice(0, 1)), "Requests of route all: at most 2 a second in the last hour, no failures");
  assert.equal(label([]), "Requests of route all: nothing yet");
});

test("each minute with failures has a stroke", () => {
  const failures = (points) => drawn(points).all("path").filter((one) => one.getAttribute("class") === "line failed").length;
  assert.equal(failures(POINTS), 1);
  assert.equal(failures([{ time: 0, rate: 1, failed: 1 }, ...POINTS.map((one) => ({ ...one, time: one.time + 600 }))]), 2);
});

test("a sparkline is drawn anew only when it changes", () => {
  const place = drawn(POINTS);
  const first = place.firstElementChild;
  sparkline(place, POINTS, "Requests of route all");
  assert.equal(place.firstElementChild, first);
  sparkline(place, [...POINTS, { time: 15, rate: 50, failed: 0 }], "Requests of route all");
  assert.notEqual(place.firstElementChild, first);
});
