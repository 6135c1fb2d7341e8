// Numbers of the gateway's status page: rates and percentiles from counters, and their text.

import assert from "node:assert/strict";
import { test } from "node:test";

import { linear, logarithmic } from "../../proxy/admin/page/charts.js";
import { bytes, count, duration, percentile, perSecond, point, rate, share } from "../../proxy/admin/page/statistics.js";

const BOUNDS = [0.001, 0.01, 0.1, 1];

function reading(now, requests, counts, statuses = { "2xx": requests }) {
  const totals = { received: 10 * requests, sent: 20 * requests, tunnel_received: 0, tunnel_sent: 0 };
  return { now, requests, statuses, totals, durations: { bounds: BOUNDS, counts } };
}

test("a rate is the growth of a counter by the time between two readings", () => {
  const pick = (one) => one.requests;
  assert.equal(rate(reading(10, 100, []), reading(12, 150, []), pick), 25);
});

test("a rate never is negative, infinite or NaN", () => {
  const pick = (one) => one.requests;
  assert.equal(rate(reading(10, 100, []), reading(12, 40, []), pick), 0, "a gateway that was restarted");
  assert.equal(rate(reading(10, 100, []), reading(10, 200, []), pick), 0, "two readings of one moment");
});

test("a percentile lies inside the bucket that it falls into", () => {
  assert.equal(percentile(BOUNDS, [0, 0, 0, 0, 0], 0.5), null);
  assert.equal(percentile(BOUNDS, [100, 0, 0, 0, 0], 0.5), 0.0005);
  assert.equal(percentile(BOUNDS, [50, 50, 0, 0, 0], 0.5), 0.001);
  assert.ok(percentile(BOUNDS, [98, 1, 1, 0, 0], 0.99) <= 0.1);
});

test("a percentile above the last bound is that bound", () => {
  assert.equal(percentile(BOUNDS, [0, 0, 0, 0, 7], 0.5), 1);
});

test("a point has rates since the last reading and percentiles over ten seconds", () => {
  const readings = Array.from({ length: 20 }, (_, at) => reading(at, 10 * at, [10 * at, 0, 0, 0, 0]));
  const last = point(readings);
  assert.equal(last.rate, 10);
  assert.equal(last.good, 10);
  assert.equal(last.failing, 0);
  assert.equal(last.p50, 0.0005);
  assert.equal(last.sent, 200);
});

test("a point of a single reading has no rates", () => {
  const first = point([reading(5, 100, [100, 0, 0, 0, 0])]);
  assert.equal(first.rate, 0);
  assert.equal(first.p50, null);
});

test("the failing share counts server errors and exchanges without a status", () => {
  const before = reading(0, 0, [0, 0, 0, 0, 0], {});
  const after = reading(1, 10, [10, 0, 0, 0, 0], { "2xx": 6, "4xx": 2, "5xx": 1, "0xx": 1 });
  assert.equal(point([before, after]).failing, 0.2);
  assert.equal(point([before, after]).refused, 2);
});

for (const [value, text] of [
  [0, "0"], [0.25, "0.3"], [9.96, "10"], [42, "42"], [9999, "9999"], [10_000, "10 k"], [2_345_678, "2.35 M"],
]) test(`${value} a second reads ${text}`, () => assert.equal(perSecond(value), text));

for (const [value, text] of [[3e9, "3 G"], [999_999, "1 M"], [12, "12"]])
  test(`a count of ${value} reads ${text}`, () => assert.equal(count(value), text));

for (const [value, text] of [
  [null, "–"], [undefined, "–"], [0.000_25, "250 µs"], [0.012_3, "12.3 ms"], [1.5, "1.5 s"], [90, "1 min"],
  [7200, "2 h"], [200_000, "2 days"],
]) test(`a duration of ${value} s reads ${text}`, () => assert.equal(duration(value), text));

for (const [value, text] of [[0, "0 B"], [999, "999 B"], [999_999, "1 MB"], [1500, "1.5 kB"], [2e12, "2 TB"]])
  test(`${value} bytes read ${text}`, () => assert.equal(bytes(value), text));

for (const [value, text] of [[0, "0 %"], [0.0005, "< 0.1 %"], [0.125, "12.5 %"], [1, "100 %"]])
  test(`a share of ${value} reads ${text}`, () => assert.equal(share(value), text));

test("a linear axis ends at 1, 2 or 5 times a power of ten, never below its least", () => {
  assert.deepEqual(linear(5)(0).levels, [0, 2.5, 5]);
  assert.deepEqual(linear(5)(37).levels, [0, 25, 50]);
  assert.equal(linear(5)(37).place(25), 0.5);
});

test("a logarithmic axis has every power of ten, and puts what is below it at its foot", () => {
  const { levels, place } = logarithmic(0.001)(0.5);
  assert.deepEqual(levels.map((one) => Number(one.toPrecision(3))), [0.001, 0.01, 0.1, 1]);
  assert.equal(place(0), 0);
  assert.equal(place(1), 1);
});
