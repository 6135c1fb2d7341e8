// Rates and percentiles from readings of /status.json, whose counters only grow; and numbers as text.

const WINDOW = 10; // seconds over which percentiles and failing shares are taken

// How much `pick` grew a second from one reading to another.
export function rate(before, after, pick) {
  const seconds = after.now - before.now;
  return seconds > 0 ? Math.max(0, (pick(after) - pick(before)) / seconds) : 0;
}

const status = (name) => (reading) => reading.statuses[name] ?? 0;
const failed = (reading) => status("5xx")(reading) + status("0xx")(reading);

// The seconds below which a share of the requests stayed; requests are taken to be spread evenly within a bucket.
export function percentile(bounds, counts, share) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (!total) return null;
  const wanted = share * total;
  let seen = 0;
  let low = 0;
  for (let index = 0; index < bounds.length; index += 1) {
    const count = counts[index];
    if (count && seen + count >= wanted) return low + ((bounds[index] - low) * (wanted - seen)) / count;
    seen += count;
    low = bounds[index];
  }
  return low;
}

// What came in the last seconds to one that `of` finds the traffic of in a reading: a route, or one of its peers.
export function flow(readings, of) {
  const after = readings.at(-1);
  const start = readings.find((reading) => reading.now >= after.now - WINDOW - 0.5 && of(reading)) ?? after;
  const [now, before] = [of(after), of(start)];
  const counts = now.durations.map((count, index) => count - before.durations[index]);
  const grown = now.requests - before.requests;
  const bad = (traffic) => (traffic.statuses["5xx"] ?? 0) + (traffic.statuses["0xx"] ?? 0);
  return {
    rate: rate(start, after, (reading) => of(reading).requests),
    failing: grown > 0 ? (bad(now) - bad(before)) / grown : 0,
    p95: percentile(after.durations.bounds, counts, 0.95),
    received: rate(start, after, (reading) => of(reading).received),
    sent: rate(start, after, (reading) => of(reading).sent),
  };
}

// One point of the charts: what happened between the last two of these readings, and over the window before.
export function point(readings) {
  const after = readings.at(-1);
  const before = readings.at(-2) ?? after;
  const start = readings.find((reading) => reading.now >= after.now - WINDOW - 0.5) ?? after;
  const counts = after.durations.counts.map((count, index) => count - start.durations.counts[index]);
  const bounds = after.durations.bounds;
  const grown = after.requests - start.requests;
  return {
    time: after.now,
    rate: rate(before, after, (reading) => reading.requests),
    good: rate(before, after, (reading) => status("2xx")(reading) + status("3xx")(reading) + status("1xx")(reading)),
    refused: rate(before, after, status("4xx")),
    failed: rate(before, after, failed),
    p50: percentile(bounds, counts, 0.5),
    p95: percentile(bounds, counts, 0.95),
    p99: percentile(bounds, counts, 0.99),
    failing: grown > 0 ? (failed(after) - failed(start)) / grown : 0,
    failures: failed(after),
    received: rate(before, after, (reading) => reading.totals.received + reading.totals.tunnel_received),
    sent: rate(before, after, (reading) => reading.totals.sent + reading.totals.tunnel_sent),
  };
}

const three = (value) => (value === 0 ? "0" : String(Number(value.toPrecision(3))));

export function perSecond(value) {
  return value >= 10 ? count(value) : three(Math.round(value * 10) / 10);
}

export function count(value) {
  if (value < 10000) return String(Math.round(value));
  return value < 999_500 ? `${three(value / 1e3)} k` : value < 999_500_000 ? `${three(value / 1e6)} M` : `${three(value / 1e9)} G`;
}

export const plural = (number, noun, nouns = `${noun}s`) => `${count(number)} ${number === 1 ? noun : nouns}`;

export function duration(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return `${three(Math.round(value * 1e6))} µs`;
  if (value < 1) return `${three(value * 1e3)} ms`;
  if (value < 60) return `${three(value)} s`;
  if (value < 7200) return `${Math.floor(value / 60)} min`;
  return value < 172800 ? `${Math.floor(value / 3600)} h` : `${Math.floor(value / 86400)} days`;
}

export function bytes(value) {
  let left = value;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (left < 999.5) return `${three(left)} ${unit}`;
    left /= 1000;
  }
  return `${three(left)} TB`;
}

export function share(value) {
  return value === 0 ? "0 %" : value < 0.001 ? "< 0.1 %" : `${three(100 * value)} %`;
}
