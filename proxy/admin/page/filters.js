// Which of the failed requests are shown: those of one cause, route and status.

import { $, el, mark, sync, write } from "./dom.js";
import { causeOf, requests } from "./tables.js";

const PARTS = [
  { id: "by-cause", all: "every cause", of: causeOf },
  { id: "by-route", all: "every route", of: (row) => row.route },
  { id: "by-status", all: "every status", of: (row) => (row.status ? String(row.status) : "none") },
];
let last = null;

export function failing(reading) {
  last = reading;
  for (const part of PARTS) offer(part, reading.failing);
  const rows = reading.failing.filter((row) => PARTS.every((part) => !$(part.id).value || part.of(row) === $(part.id).value));
  $("filters").hidden = !reading.failing.length;
  requests("failing", reading, rows);
  const filtered = rows.length < reading.failing.length;
  write($("failing-hint"), filtered ? `${rows.length} of ${reading.failing.length}` : "the newest of all, and of each cause");
  if (reading.access_log) write($("failing-empty"), filtered ? "None of this kind." : "No recent failures.");
}

// A choice that is made stays, even while no row has it.
function offer(part, rows) {
  const select = $(part.id);
  const counts = new Map(select.value ? [[select.value, 0]] : []);
  for (const row of rows) if (part.of(row)) counts.set(part.of(row), (counts.get(part.of(row)) ?? 0) + 1);
  const options = [["", rows.length], ...[...counts].sort(([one], [other]) => one.localeCompare(other))];
  sync(select, options, ([value]) => value, () => el("option"), (option, [value, count]) => {
    mark(option, "value", value);
    write(option, value ? `${value} (${count})` : part.all);
  });
}

export function choose(id, value) {
  $(id).value = value;
  if (last) failing(last);
}

for (const { id } of PARTS) $(id).addEventListener("change", () => last && failing(last));
