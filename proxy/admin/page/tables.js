// Everything below the charts: each function renders its part of a reading.

import { $, either, el, mark, sync, write } from "./dom.js";
import { bytes, count, duration, plural } from "./statistics.js";

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

export function settings(reading) {
  const rows = reading.settings ?? [];
  table("settings", ["setting", "value", "default"], rows, (row) => `${row.route} ${row.name}`,
    (row) => [row.route ? `${row.name} of ${row.route}` : row.name, row.value, row.default]);
  write($("settings-empty"), reading.settings === null ? "They are shown to those with the token." : "All have their defaults.");
}

const ROLES = { front: "clients", plain: "clients, plain HTTP", admin: "status page", control: "commands" };

export function listeners(reading) {
  sync($("listeners"), reading.listeners, (one) => `${one.role} ${one.address}`, () => el("li", {}, el("code"), el("span", { class: "hint" })),
    (item, one) => {
      write(item.children[0], one.address);
      write(item.children[1], ROLES[one.role] ?? one.role);
    });
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

export function bars(id, rows) {
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

// `rows`: those to show, of all that the reading has.
export function requests(id, reading, rows = reading[id]) {
  table(id, ["when", "took", "status", "request", "client", "route", "upstream", "reason", "state", "id"], rows,
    (row) => `${row.when} ${row.request_id} ${row.target}`,
    (row) => [
      `${duration(Math.max(1, Math.round(reading.now - row.when - row.seconds)))} ago`,
      duration(row.seconds),
      row.status ? String(row.status) : "none",
      `${row.method} ${row.target}`,
      client(row),
      row.route || "–",
      row.upstream || "–",
      causeOf(row),
      row.state,
      row.request_id,
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

export function table(id, columns, rows, key, cells) {
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

// What the process that follows containers sees, in a line; the first fault stands for the others.
export function containers(reading) {
  const seen = reading.containers;
  const line = $("containers");
  line.hidden = !seen;
  if (!seen) return;
  const ago = (moment) => duration(Math.max(1, Math.round(reading.now - moment)));
  const [fault, ...others] = seen.faults;
  const faults = fault ? `${fault}${others.length ? `, and ${plural(others.length, "other fault")}` : ""}` : "";
  const made = plural(reading.services.filter((one) => one.labelled).length, "service");
  const said = {
    connected: [`Containers of ${seen.daemon}: followed for ${ago(seen.since)}, ${plural(seen.containers, "container")} with labels, ${made}`, faults],
    away: [`Containers of ${seen.daemon}: not followed for ${ago(seen.since)}, services stay as they are`, seen.fault],
    silent: [`Containers of ${seen.daemon}: aragora-proxy containers was last heard ${ago(seen.heard)} ago, services stay as they are`, seen.fault],
  };
  write(line, said[seen.state].filter(Boolean).join("; "));
  mark(line, "data-kind", seen.state !== "connected" ? "bad" : fault ? "warn" : "calm");
}

const client = (row) => (row.client === null ? "hidden (needs the token)" : row.client || "unix socket");
export const causeOf = (row) => words(row.reason) || (row.status >= 500 ? "response of the application" : "");
export const words = (reason) => reason.replaceAll("_", " ");
