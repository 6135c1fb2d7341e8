// The cache: what is stored, how much of what was asked for was found there, and the removal of what is stored.

import { $, el, mark, sync, write } from "./dom.js";
import { sparkline } from "./sparkline.js";
import { bytes, count, flow, perSecond, plural, share } from "./statistics.js";
import { bars } from "./tables.js";

const CACHE = "cache"; // what the log and the history have in the place of a peer's address

// `readings`: those of the last minutes; `history` has the points of each series (`history.js`).
export function cache(readings, history) {
  const reading = readings.at(-1);
  const routes = reading.routes.filter((route) => route.cached);
  $("cache").hidden = !routes.length;
  if (!routes.length) return;
  const { totals, cache: stored } = reading;
  write($("cache-hint"), stored.hit_rate === null ? "not asked yet" : `${share(stored.hit_rate)} found since the start`);
  const asked = [
    ["hits", "fine", totals.cache_hits, "sent at once"],
    ["stale", "gateway", totals.cache_stale, "sent while a newer one was fetched, or in the place of an error"],
    ["validated", "plain", totals.cache_validated, "still good, said the application"],
    ["misses", "client", totals.cache_misses, "fetched from the application"],
  ];
  const sum = asked.reduce((all, [, , number]) => all + number, 0);
  bars("stored", [
    {
      key: "stored", name: "stored", kind: "plain", part: part(stored.bytes, stored.most_bytes), value: bytes(stored.bytes),
      note: `of ${bytes(stored.most_bytes)} · ${plural(stored.entries, "response")} of ${count(stored.most_entries)}`,
    },
    ...asked.map(([name, kind, number, note]) => ({ key: name, name, kind, part: part(number, sum), value: count(number), note })),
  ]);
  sync($("cached"), routes, (route) => route.name, routeElement, (element, route) => fillRoute(element, route, readings, history));
}

const part = (some, all) => (all ? some / all : 0);

function routeElement() {
  return el("li", { class: "figures" }, el("strong"), el("span", { class: "hint" }), el("span", { class: "spark" }));
}

function fillRoute(element, route, readings, history) {
  const [name, figures, spark] = element.children;
  const of = (reading) => reading.routes.find((other) => other.name === route.name);
  const all = flow(readings, (reading) => of(reading)?.traffic);
  const found = flow(readings, (reading) => of(reading)?.cached);
  write(name, route.name);
  const now = all.rate ? `${share(Math.min(1, found.rate / all.rate))} of ${perSecond(all.rate)} /s found · ` : "";
  write(figures, `${now}${count(route.cached.requests)} of ${plural(route.traffic.requests, "request")}`);
  sparkline(spark, shares(history.points(route.name), history.points(route.name, CACHE)), `Found for route ${route.name}`, {
    highest: 1, told: inWords,
  });
}

// The share of requests that were found, where there were any.
function shares(all, found) {
  const rates = new Map(found.map((one) => [one.time, one.rate]));
  return all.filter((one) => one.rate).map(({ time, rate }) => ({ time, rate: Math.min(1, (rates.get(time) ?? 0) / rate), failed: 0 }));
}

function inWords(minutes) {
  const rates = minutes.filter((one) => one.number).map((one) => one.rate);
  return rates.length ? `${share(rates.at(-1))} in the last minute, at least ${share(Math.min(...rates))} in the last hour` : "nothing yet";
}

const EXAMPLES = { url: "https://host/path?query, or /path", prefix: "https://host/path/, or /path/", tag: "product-17" };

// `order` sends a command.
export function purging(order) {
  const [by, what] = [$("purge-by"), $("purge-what")];
  const choose = () => {
    what.hidden = by.value === "all";
    what.disabled = what.hidden;
    mark(what, "placeholder", EXAMPLES[by.value] ?? "");
  };
  by.addEventListener("change", choose);
  $("purge").addEventListener("submit", (event) => {
    event.preventDefault();
    order("purge", by.value === "all" ? { all: true } : { [by.value]: what.value.trim() });
  });
  choose();
}
