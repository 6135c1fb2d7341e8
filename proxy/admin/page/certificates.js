// The certificates of the settings, and those that clients' handshakes have brought.

import { $, write } from "./dom.js";
import { duration, plural } from "./statistics.js";
import { bars, table } from "./tables.js";

const MOST = 12;
const SOON = 14; // days

// Those that expire first; a single banner for the very first if that is soon.
export function certificates(reading) {
  const faults = new Map(reading.certificate_faults.map((row) => [row.name, row.fault]));
  const all = sorted(reading.certificates).map((row) => ({ ...row, fault: faults.get(row.name) }));
  listed("certificates", all, all.length);
  // One on demand may expire on purpose, when no client asks for it any more: not if it was to be renewed.
  const [first] = sorted([...all, ...reading.on_demand.certificates.filter((row) => row.fault)]);
  $("expiry").hidden = !first || first.days >= SOON;
  if (first && first.days < SOON) {
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
  listed("demanded", told.certificates, told.names);
  table("refused", ["when", "name", "why"], told.refused, (row) => row.name, (row) => [
    `${duration(Math.max(1, Math.round(reading.now - row.when)))} ago`,
    row.name,
    [REASONS[row.outcome] ?? row.outcome, row.reason].filter(Boolean).join(": "),
  ]);
}

// The first of `rows`, which are sorted, of `count` that there are.
function listed(id, rows, count) {
  const shown = rows.slice(0, MOST);
  bars(id, shown.map((row) => ({
    key: row.name,
    name: row.name,
    kind: row.days < 7 ? "upstream" : row.days < 21 || row.fault ? "gateway" : "fine",
    part: row.days / 90,
    value: left(row),
    note: [`until ${new Date(row.expires * 1000).toLocaleDateString()}`, row.fault].filter(Boolean).join("; "),
  })));
  write($(`${id}-hint`), count > shown.length && shown.length ? `the ${shown.length} of ${count} that expire first` : "");
}

const sorted = (rows) => [...rows].sort((one, other) => one.expires - other.expires);
const left = (row) => (row.days < 0 ? "expired" : plural(row.days, "day"));
