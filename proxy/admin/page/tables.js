// Everything below the charts: each function renders its part of a reading.

import { $, either, el, mark, sync, write } from "./dom.js";
import { bytes, count, duration } from "./statistics.js";

const STATES = { up: "up", down: "down", ejected: "ejected", draining: "draining", unknown: "unknown" };

export function routes(reading, order) {
  sync($("routes"), reading.routes, (route) => route.name, () => routeElement(order), (element, route) => {
    element.route = route;
    const [head, peers] = element.children;
    const [name, where, answer, chip, , button] = head.children;
    write(name, route.name);
    write(where, matching(route));
    write(answer, answered(route));
    const covered = reading.maintenance.all || route.maintenance;
    chip.hidden = !covered;
    button.hidden = reading.maintenance.all || reading.routes.length === 1;
    write(button, route.maintenance ? "End maintenance" : "Maintenance");
    mark(button, "aria-label", `${button.textContent} of route ${route.name}`);
    sync(peers, route.peers, (peer) => peer.peer, () => peerElement(order), (row, peer) => fillPeer(row, peer, route));
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

function peerElement(order) {
  const button = el("button", { class: "button small plain", type: "button" });
  const row = el("li", { class: "peer" }, el("span", { class: "chip" }), el("code"),
    el("span", { class: "meter" }, el("span", { class: "track", "aria-hidden": true }, el("i")), el("span")),
    el("span", { class: "hint" }), el("span", { class: "hint" }), button);
  button.addEventListener("click", () =>
    order(row.peer.state === "draining" ? "undrain" : "drain", { peer: row.peer.peer, route: row.route.name }));
  return row;
}

function fillPeer(row, peer, route) {
  row.peer = peer;
  row.route = route;
  const [chip, address, meter, used, probed, button] = row.children;
  write(chip, STATES[peer.state] ?? peer.state);
  mark(chip, "data-state", peer.state);
  write(address, peer.weight > 1 ? `${peer.peer}  ×${peer.weight}` : peer.peer);
  const open = peer.busy + peer.idle;
  meter.firstElementChild.firstElementChild.style.width = `${open ? (100 * peer.busy) / open : 0}%`;
  write(meter.lastElementChild, `${count(peer.busy)} busy, ${count(peer.idle)} idle`);
  const sent = peer.connects + peer.reuses;
  const failed = peer.failures ? `, ${count(peer.failures)} failed` : "";
  write(used, `${plural(sent, "request")}${failed}`);
  mark(used, "title", `${count(peer.connects)} on new connections, ${count(peer.reuses)} on reused ones`);
  mark(used, "class", peer.failures ? "hint bad" : "hint");
  write(probed, peer.probed ? `probed ${duration(Math.max(0, Math.round(Date.now() / 1000 - peer.probed)))} ago` : "");
  write(button, peer.state === "draining" ? "Undrain" : "Drain");
  mark(button, "aria-label", `${button.textContent} ${peer.peer} on route ${route.name}`);
}

export function failures(reading, earlier) {
  const before = new Map(earlier.failures.map((row) => [row.reason, row.count]));
  const recent = (row) => row.count - (before.get(row.reason) ?? 0);
  const rows = reading.failures.map((row) => ({
    key: row.reason,
    name: words(row.reason),
    kind: row.side,
    part: row.count / reading.failures[0].count,
    value: count(row.count),
    note: `${row.message}${recent(row) ? ` · ${count(recent(row))} in the last three minutes` : ""}`,
  }));
  bars("failures", rows.slice(0, 8));
  const limits = rows.filter((_, index) => reading.failures[index].limit).slice(0, 8);
  bars("limits", limits.map((row) => ({ ...row, part: row.part / limits[0].part })));
}

export function certificates(reading) {
  const faults = new Map(reading.certificate_faults.map((row) => [row.name, row.fault]));
  bars("certificates", reading.certificates.map((row) => ({
    key: row.name,
    name: row.name,
    kind: row.days < 7 ? "upstream" : row.days < 21 || faults.has(row.name) ? "gateway" : "fine",
    part: row.days / 90,
    value: row.days < 0 ? "expired" : plural(row.days, "day"),
    note: [`until ${new Date(row.expires * 1000).toLocaleDateString()}`, faults.get(row.name)].filter(Boolean).join("; "),
  })));
}

export function workers(reading) {
  bars("workers", reading.workers.map((row) => ({
    key: String(row.pid),
    name: String(row.pid),
    kind: row.draining ? "gateway" : "plain",
    part: row.utilisation,
    value: `${Math.round(100 * row.utilisation)} %`,
    note: [
      plural(row.connections.active + row.connections.idle + row.connections.tunnel, "connection"),
      plural(row.requests, "request"),
      row.draining ? "draining" : row.current ? "" : "not on the newest overrides",
    ].filter(Boolean).join(", "),
  })));
  const replaces = reading.master.replaces ? `; the old master ${reading.master.replaces} still runs` : "";
  write($("workers-hint"), `master ${reading.master.pid}${replaces}`);
}

function bars(id, rows) {
  const empty = $(`${id}-empty`);
  if (empty) either($(id), empty, rows.length > 0);
  sync($(id), rows, (row) => row.key,
    () => el("li", {}, el("span", { class: "name" }), el("span", { class: "track", "aria-hidden": true }, el("i")),
      el("strong"), el("span", { class: "hint" })),
    (item, row) => {
      mark(item, "data-kind", row.kind);
      write(item.children[0], row.name);
      item.children[1].firstElementChild.style.width = `${100 * Math.min(1, Math.max(0, row.part))}%`;
      write(item.children[2], row.value);
      write(item.children[3], row.note);
    });
}

export function requests(id, reading) {
  const rows = reading[id];
  table(id, ["when", "took", "status", "request", "client", "upstream", "reason", "state"], rows,
    (row) => `${row.when} ${row.request_id} ${row.target}`,
    (row) => [
      `${duration(Math.max(1, Math.round(reading.now - row.when - row.seconds)))} ago`,
      duration(row.seconds),
      row.status ? String(row.status) : "none",
      `${row.method} ${row.target}`,
      client(row),
      row.upstream || "–",
      words(row.reason) || (row.status >= 500 ? "response of the application" : ""),
      row.state,
    ]);
  if (!reading.access_log) write($(`${id}-empty`), "The access log is off, so single requests are not recorded.");
}

export function tunnels(reading) {
  table("tunnels", ["open for", "path", "client", "upstream", "to client", "from client", "state"], reading.tunnels,
    (row) => `${row.since} ${row.client} ${row.target}`,
    (row) => [
      duration(Math.max(0, reading.now - row.since)), row.target, client(row), row.upstream,
      bytes(row.to_client), bytes(row.to_upstream), words(row.state),
    ]);
  const open = reading.connections.tunnel;
  write($("tunnels-hint"), open > reading.tunnels.length ? `the oldest ${reading.tunnels.length} of ${open}` : "");
}

function table(id, columns, rows, key, cells) {
  const element = $(id);
  either(element.parentElement, $(`${id}-empty`), rows.length > 0);
  if (!element.tHead) {
    element.append(el("thead", {}, el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, name)))), el("tbody"));
  }
  sync(element.tBodies[0], rows, key, () => el("tr", {}, ...columns.map(() => el("td"))), (line, row) =>
    cells(row).forEach((text, index) => {
      write(line.children[index], text);
      mark(line.children[index], "data-column", columns[index]);
    }));
}

const client = (row) => (row.client === null ? "hidden (needs the token)" : row.client || "unix socket");
const words = (reason) => reason.replaceAll("_", " ");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
