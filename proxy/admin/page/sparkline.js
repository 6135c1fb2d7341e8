// A line of the last hour in little room: requests a second, and those that failed in red; or shares of them.

import { mark, svg } from "./dom.js";
import { HOUR } from "./history.js";
import { perSecond, plural } from "./statistics.js";

const WIDTH = 120;
const HEIGHT = 26;
const BARS = 60; // a minute each

// `highest`: what is always in view; `told`: what the minutes show, in words.
export function sparkline(place, points, what, { highest: least = 0.1, told = words } = {}) {
  const bars = grouped(points);
  const highest = Math.max(...bars.map((bar) => bar.rate), least);
  const y = (value) => (HEIGHT - 1 - (value / highest) * (HEIGHT - 3)).toFixed(1);
  const x = (index) => ((index * WIDTH) / (BARS - 1)).toFixed(1);
  const outline = bars.map((bar, index) => `${x(index)} ${y(bar.rate)}`).join("L");
  const key = bars.map((bar) => `${y(bar.rate)} ${y(bar.failed)}`).join();
  if (place.dataset.drawn === key) return;
  mark(place, "data-drawn", key);
  place.replaceChildren(svg(
    "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${what}: ${told(bars)}` },
    svg("path", { class: "area good", d: `M0 ${HEIGHT}L${outline}L${WIDTH} ${HEIGHT}Z` }),
    svg("path", { class: "line good", d: `M${outline}` }),
    ...bars.flatMap((bar, index) => (bar.failed
      ? [svg("path", { class: "line failed", d: `M${x(index)} ${HEIGHT}V${Math.min(y(bar.failed), HEIGHT - 4)}` })]
      : [])),
  ));
}

// The mean of each minute of the last hour; the end is the newest point.
function grouped(points) {
  const bars = Array.from({ length: BARS }, () => ({ rate: 0, failed: 0, number: 0 }));
  const end = points.at(-1)?.time ?? 0;
  for (const one of points) {
    const bar = bars[BARS - 1 - Math.floor((BARS * (end - one.time)) / HOUR)];
    if (!bar) continue;
    bar.number += 1;
    bar.rate += (one.rate - bar.rate) / bar.number;
    bar.failed += (one.failed - bar.failed) / bar.number;
  }
  return bars;
}

function words(bars) {
  if (!bars.some((bar) => bar.number)) return "nothing yet";
  const bad = bars.filter((bar) => bar.failed).length;
  const most = `at most ${perSecond(Math.max(...bars.map((bar) => bar.rate)))} a second in the last hour`;
  return bad ? `${most}, failures in ${plural(bad, "minute")}` : `${most}, no failures`;
}
