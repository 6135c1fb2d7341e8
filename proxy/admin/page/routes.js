// The routes and their peers: what each of them gets, how it responds, and the commands for it.

import { sparkline } from "./sparkline.js";
import { $, el, mark, sync, write } from "./dom.js";
import { bytes, count, duration, flow, perSecond, plural, share } from "./statistics.js";

const NOT_TAKING = new Set(["down", "ejected"]);

// `readings`: those of the last minutes; `history` has the points of each series (`history.js`).
export function routes(readings, history, order) {
  const reading = readings.at(-1);
  const wanted = $("search").value.toLowerCase();
  const shown = reading.routes.filter((route) => JSON.stringify([route.name, matching(route), route.peers.map((peer) => [peer.peer, peer.state])]).toLowerCase().includes(wanted));
  $("search").hidden = reading.routes.length < 4;
  sync($("routes"), shown, (route) => route.name, () => routeElement(order), (element, route) => {
    element.route = route;
    const [head, figures, peers] = element.children;
    const [name, where, answer, chip, , button] = head.children;
    write(name, route.name);
    write(where, matching(route));
    write(answer, answered(route));
    chip.hidden = !(reading.maintenance.all || route.maintenance);
    button.hidden = reading.maintenance.all || reading.routes.length === 1;
    write(button, route.maintenance ? "End maintenance" : "Maintenance");
    mark(button, "aria-label", `${button.textContent} of route ${route.name}`);
    const now = flow(readings, (one) => one.routes.find((other) => other.name === route.name)?.traffic);
    write(figures.children[0], told(now));
    write(figures.children[1], summed(route.traffic, now, route.queued));
    sparkline(figures.children[2], history.points(route.name), `Requests of route ${route.name}`);
    sync(peers, route.peers, (peer) => peer.peer, () => peerElement(order),
      (row, peer) => fillPeer(row, peer, route, readings, history));
  });
  sync($("leaving"), reading.leaving, (peer) => peer.peer, () => el("li", { class: "hint" }), (row, peer) =>
    write(row, `${peer.peer} was removed; ${peer.busy} of its connections are still busy`));
  const peers = new Set(reading.routes.flatMap((route) => route.peers.map((peer) => peer.peer)));
  write($("routes-hint"), `${plural(reading.routes.length, "route")}, ${plural(peers.size, "upstream")}`);
}

function routeElement(order) {
  const button = el("button", { class: "quiet", type: "button" });
  const element = el(
    "section",
    { class: "route" },
    el("header", { class: "row" }, el("h3"), el("span", { class: "hint" }), el("span", { class: "hint" }),
      el("span", { class: "chip", "data-state": "draining" }, "maintenance"), el("span", { class: "grow" }), button),
    el("p", { class: "figures" }, el("strong"), el("span", { class: "hint" }), el("span", { class: "spark" })),
    el("ol", { class: "peers" }),
  );
  button.addEventListener("click", () =>
    order("maintenance", { on: !element.route.maintenance, route: element.route.name }));
  return element;
}

function matching(route) {
  const hosts = route.hosts.length ? route.hosts.join(", ") : "every host";
  const path = route.path === "/" && !route.exact ? [] : [`${route.exact ? "exactly " : ""}${route.path}`];
  return [hosts, ...path, ...route.asks].join(", ");
}

function answered(route) {
  if (route.paused) return "paused: requests wait";
  return route.answer || (route.switched_from.length ? `switched from ${route.switched_from.join(", ")}` : "");
}

// What comes now, of the last ten seconds.
function told(now) {
  const latency = now.p95 === null ? "" : ` · p95 ${duration(now.p95)}`;
  return `${perSecond(now.rate)} /s · ${share(now.failing)} failing${latency}`;
}

const workers = (reading) => reading.workers.filter((worker) => !worker.draining).length;

function summed(traffic, now, queued) {
  const retries = traffic.retries ? `, ${plural(traffic.retries, "retry", "retries")}` : "";
  const waiting = queued ? ` · ${count(queued)} waiting` : "";
  return `${plural(traffic.requests, "request")}${retries}${waiting} · ${bytes(now.received)}/s in, ${bytes(now.sent)}/s out`;
}

function peerElement(order) {
  const button = el("button", { class: "button small plain", type: "button" });
  const row = el("li", { class: "peer" }, el("span", { class: "chip" }),
    el("span", { class: "address" }, el("code"), el("span", { class: "hint" })),
    el("span", { class: "address" }, el("span"), el("span", { class: "hint" })),
    el("span", { class: "spark" }),
    el("span", { class: "meter" }, el("span", { class: "track", "aria-hidden": true }, el("i")), el("span")), button);
  button.addEventListener("click", () =>
    order(row.peer.state === "draining" ? "undrain" : "drain", { peer: row.peer.peer, route: row.route.name }));
  return row;
}

function fillPeer(row, peer, route, readings, history) {
  row.peer = peer;
  row.route = route;
  const [chip, place, figures, spark, meter, button] = row.children;
  write(chip, peer.state);
  mark(chip, "data-state", peer.state);
  write(place.children[0], peer.weight > 1 ? `${peer.peer}  ×${peer.weight}` : peer.peer);
  write(place.children[1], condition(peer, readings.at(-1).now));
  mark(place.children[1], "class", NOT_TAKING.has(peer.state) || peer.since ? "hint bad" : "hint");
  const now = flow(readings, (one) =>
    one.routes.find((other) => other.name === route.name)?.peers.find((other) => other.peer === peer.peer)?.traffic);
  write(figures.children[0], told(now));
  const retries = peer.traffic.retries ? `, ${plural(peer.traffic.retries, "retry", "retries")}` : "";
  const attempts = peer.failures ? `, ${plural(peer.failures, "failed attempt")}` : "";
  write(figures.children[1], `${plural(peer.traffic.requests, "request")}${retries}${attempts}`);
  mark(figures, "title", `${count(peer.connects)} on new connections, ${count(peer.reuses)} on reused ones`);
  sparkline(spark, history.points(route.name, peer.peer), `Requests of ${peer.peer} on route ${route.name}`);
  const open = peer.busy + peer.idle;
  meter.firstElementChild.firstElementChild.style.width = `${open ? (100 * peer.busy) / open : 0}%`;
  const most = peer.limit ? ` of ${count(peer.limit * workers(readings.at(-1)))}` : "";
  write(meter.lastElementChild, `${count(peer.busy)}${most} busy, ${count(peer.idle)} idle`);
  write(button, peer.state === "draining" ? "Undrain" : "Drain");
  mark(button, "aria-label", `${button.textContent} ${peer.peer} on route ${route.name}`);
}

// Since when it does not work, and why; else when it was looked at last, and what it went through before.
function condition(peer, now) {
  if (peer.since) {
    const state = NOT_TAKING.has(peer.state) ? peer.state : "failing";
    return `${state} for ${duration(Math.max(1, Math.round(now - peer.since)))}${peer.fault ? `: ${peer.fault}` : ""}`;
  }
  const probed = peer.probed ? `probed ${duration(Math.max(0, Math.round(now - peer.probed)))} ago` : "";
  const before = peer.outages ? `${plural(peer.outages, "outage")}, ${duration(peer.downtime)} in all` : "";
  return [probed, before].filter(Boolean).join(" · ");
}
