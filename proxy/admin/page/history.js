// The last hour, which the gateway keeps: fetched once, then every few seconds what is new.

import { $, el, mark, sync, write } from "./dom.js";
import { duration } from "./statistics.js";

export const HOUR = 3600; // seconds
const PERIOD = 5; // seconds between requests for what is new

export class History {
  constructor() {
    this.forget();
  }

  // After a restart of the gateway: what it counts begins anew.
  forget() {
    Object.assign(this, { whole: [], series: new Map(), marks: [], last: 0, asked: 0 });
  }

  // `ask` fetches a document of the gateway. Whether something new came.
  async refresh(ask, now = Date.now() / 1000) {
    if (now - this.asked < PERIOD) return false;
    this.asked = now;
    this.add(await ask(`/history.json?since=${this.last}`));
    return true;
  }

  add(document) {
    const { ends, lengths } = document;
    this.whole = recent([...this.whole, ...points(ends, lengths, document.whole)]);
    for (const one of document.series) {
      const key = keyOf(one.route, one.peer);
      this.series.set(key, recent([...(this.series.get(key) ?? []), ...points(ends, lengths, one)]));
    }
    this.marks = document.marks;
    this.last = ends.at(-1) ?? this.last;
  }

  points(route, peer = "") {
    return this.series.get(keyOf(route, peer)) ?? [];
  }
}

const keyOf = (route, peer) => `${route}\n${peer}`;

const recent = (list) => list.filter((one) => one.time > list.at(-1).time - HOUR);

// Points as the charts take them: numbers a second, and seconds.
function points(ends, lengths, figures) {
  return ends.map((time, row) => {
    const each = (name) => (figures[name]?.[row] ?? 0) / lengths[row];
    const [good, refused, failed] = [each("good"), each("refused"), each("failed")];
    const rate = good + refused + failed;
    const latency = (name) => (rate ? (figures[name]?.[row] ?? 0) / 1e6 : null);
    return {
      time, good, refused, failed, rate, failing: rate ? failed / rate : 0,
      p50: latency("p50"), p95: latency("p95"), p99: latency("p99"), received: each("received"), sent: each("sent"),
    };
  });
}


// The list of what was done in the last hour, newest first; the charts have a line for each.
export function marked(marks, now) {
  sync($("marks"), [...marks].reverse(), (one) => `${one.when} ${one.text}`,
    () => el("li", {}, el("i", { "aria-hidden": true }), el("span"), el("span", { class: "hint" })),
    (item, one) => {
      mark(item, "class", one.kind);
      write(item.children[1], one.text);
      write(item.children[2], `${duration(Math.max(1, Math.round(now - one.when)))} ago`);
    });
}
