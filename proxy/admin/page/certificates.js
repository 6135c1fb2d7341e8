// The certificates of the settings, and those that clients' handshakes have brought.

import { $, write } from "./dom.js";
import { duration, plural } from "./statistics.js";
import { bars, table } from "./tables.js";

const MOST = 12;
const DAY = 86400;
// Less than so many days, and such a part of a lifetime, are left only when renewals fail: they are due at two thirds of
// a lifetime, of a short one at half.
const LEFT = { low: [21, 1 / 4], soon: [14, 1 / 6], last: [7, 1 / 12] };

// Those that expire first; a single banner for the very first if that is soon.
export function certificates(reading) {
  const faults = new Map(reading.certificate_faults.map((row) => [row.name, row.fault]));
  const all = sorted(reading.certificates).map((row) => ({ ...row, fault: faults.get(row.name) }));
  listed("certificates", all, all.length, reading.now);
  // One on demand may expire on purpose, when no client asks for it any more: not if it was to be renewed.
  const [first] = sorted([...all, ...reading.on_demand.certificates.filter((row) => row.fault)]);
  const soon = first && within(LEFT.soon, first, reading.now);
  $("expiry").hidden = !soon;
  if (soon) {
    write($("expiry"), first.days < 0 ? `The certificate ${first.name} has expired.` : `The certificate ${first.name} expires in ${left(first)}.`);
  }
}

const REASONS = {
  name: "no certificate can be ordered for such a name",
  busy: "too many names or handshakes waited already",
  failed: "the CA issued none",
  rate: "too many new names in that time (on_demand_rate, on_demand_client_rate)",
  denied: "the service of on_demand_ask said no",
  unknown: "the service of on_demand_ask gave no usable answer",
  full: "there are as many names as on_demand_names allows",
};

export function onDemand(reading) {
  const told = reading.on_demand;
  $("on-demand").hidden = !told.enabled;
  listed("demanded", told.certificates, told.names, reading.now);
  table("refused", ["when", "name", "why"], told.refused, (row) => row.name, (row) => [
    `${duration(Math.max(1, Math.round(reading.now - row.when)))} ago`,
    row.name,
    [REASONS[row.outcome] ?? row.outcome, row.reason].filter(Boolean).join(": "),
  ]);
}

// The first of `rows`, which are sorted, of `count` that there are.
function listed(id, rows, count, now) {
  const shown = rows.slice(0, MOST);
  bars(id, shown.map((row) => ({
    key: row.name,
    name: row.name,
    kind: within(LEFT.last, row, now) ? "upstream" : within(LEFT.low, row, now) || row.fault ? "gateway" : "fine",
    part: row.days / 90,
    value: left(row),
    note: [`until ${new Date(row.expires * 1000).toLocaleDateString()}`, row.fault].filter(Boolean).join("; "),
  })));
  write($(`${id}-hint`), count > shown.length && shown.length ? `the ${shown.length} of ${count} that expire first` : "");
}

const within = ([days, part], row, now) => row.expires - now < Math.min(days * DAY, (row.expires - row.begins) * part);
const sorted = (rows) => [...rows].sort((one, other) => one.expires - other.expires);
const left = ({ days }) => (days > 0 ? plural(days, "day") : days < 0 ? "expired" : "less than a day");
