// Two charts over time, redrawn with each reading: stacked layers, and lines.

import { el, mark, svg, sync, write } from "./dom.js";

export const SPAN = 180; // seconds shown, unless others are chosen
const LEFT = 62;
const RIGHT = 16;
const TOP = 10;
const BOTTOM = 22;

// `series`: [{name, kind, value(point)}]; `stacked`: layers, the first at the bottom; `text(value)`: a tick's label.
// `scale` makes the vertical axis: from the highest value, the levels of ticks and the place of a value, 0 to 1.
export class Chart {
  constructor(plot, legend, series, { stacked, text, scale, what }) {
    Object.assign(this, { plot, legend, series, stacked, text, scale, what, points: [], span: SPAN, marks: [], hover: null });
    plot.addEventListener("pointermove", (event) => this.look(event));
    plot.addEventListener("pointerleave", () => this.look(null));
    new ResizeObserver(() => this.draw()).observe(plot);
  }

  // `marks`: moments at which something was done, `{when, kind, text}`; `span`: seconds.
  show(points, span = SPAN, marks = []) {
    Object.assign(this, { points, span, marks });
    this.draw();
  }

  look(event) {
    this.hover = event === null ? null : event.clientX - this.plot.getBoundingClientRect().left;
    this.draw();
  }

  draw() {
    const width = this.plot.clientWidth;
    const height = this.plot.clientHeight;
    if (!width || !this.points.length) return;
    const end = this.points.at(-1).time;
    const x = (time) => LEFT + (1 - (end - time) / this.span) * (width - LEFT - RIGHT);
    const { levels, place } = this.scale(Math.max(...this.points.map((one) => this.highest(one))));
    const y = (value) => TOP + (1 - place(value)) * (height - TOP - BOTTOM);
    const at = this.hover === null ? null : this.nearest(x);
    this.plot.replaceChildren(svg(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": this.label() },
      ...this.grid(levels, x, y, end, width),
      ...(this.stacked ? this.layers(x, y) : this.lines(x, y)),
      ...this.moments(x, end, height),
      at && svg("line", { x1: x(at.time), x2: x(at.time), y1: TOP, y2: height - BOTTOM, class: "hair" }),
    ));
    this.tell(at ?? this.points.at(-1), at && end - at.time);
  }

  moments(x, end, height) {
    return this.marks.filter((mark) => mark.when <= end && mark.when > end - this.span).map((mark) =>
      svg("line", { x1: x(mark.when), x2: x(mark.when), y1: TOP, y2: height - BOTTOM, class: `mark ${mark.kind}` },
        svg("title", {}, mark.text)));
  }

  highest(one) {
    const values = this.series.map((series) => series.value(one) ?? 0);
    return this.stacked ? values.reduce((sum, value) => sum + value, 0) : Math.max(...values);
  }

  nearest(x) {
    return this.points.reduce((best, one) =>
      Math.abs(x(one.time) - this.hover) < Math.abs(x(best.time) - this.hover) ? one : best);
  }

  grid(levels, x, y, end, width) {
    const lines = levels.flatMap((level) => [
      svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(level), y2: y(level), class: "grid" }),
      svg("text", { x: LEFT - 8, y: y(level) + 4, class: "tick end" }, this.text(level)),
    ]);
    const times = [this.span / 1.5, this.span / 3, 0].map((ago) =>
      svg("text", { x: x(end - ago), y: y(levels[0]) + 17, class: ago ? "tick" : "tick end" },
        ago ? `${Math.round(ago / 60)} min ago` : "now"));
    return [...lines, ...times];
  }

  layers(x, y) {
    const below = this.points.map(() => 0);
    return this.series.map((series, number) => {
      const base = this.points.map((one, index) => `${x(one.time)} ${y(below[index])}`);
      const line = this.points.map((one, index) => {
        below[index] += series.value(one) ?? 0;
        return `${x(one.time)} ${y(below[index])}`;
      });
      // Only the first layer has an outline; those above are seldom thick enough for one.
      return svg("g", { class: series.kind },
        svg("path", { class: number ? "band" : "area", d: `M${line.join("L")}L${base.reverse().join("L")}Z` }),
        number ? null : svg("path", { class: "line", d: `M${line.join("L")}` }));
    });
  }

  lines(x, y) {
    return this.series.map((series) => {
      let pen = "M";
      const path = this.points.map((one) => {
        const value = series.value(one);
        const step = value === null ? "" : `${pen}${x(one.time)} ${y(value)}`;
        pen = value === null ? "M" : "L";
        return step;
      });
      return svg("path", { class: `line ${series.kind}`, d: path.join("") });
    });
  }

  tell(one, ago) {
    sync(this.legend, ago ? [...this.series, { name: "", ago }] : this.series, (series) => series.name,
      () => el("li", {}, el("i", { "aria-hidden": true }), el("span"), el("strong")),
      (item, series) => {
        mark(item, "class", series.kind ?? "moment");
        write(item.children[1], series.name);
        write(item.children[2], series.ago ? `${series.ago < 120 ? `${Math.round(series.ago)} s` : `${Math.round(series.ago / 60)} min`} ago` : this.text(series.value(one)));
      });
  }

  label() {
    const last = this.points.at(-1);
    return `${this.what}: ${this.series.map((series) => `${series.name} ${this.text(series.value(last))}`).join(", ")}`;
  }
}

// From 0 to the next round number: 1, 2 or 5 times a power of ten.
export const linear = (least) => (highest) => {
  const value = Math.max(least, highest);
  const power = 10 ** Math.floor(Math.log10(value));
  const top = power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
  return { levels: [0, top / 2, top], place: (one) => one / top };
};

// Powers of ten, so that the usual latency and the worst are both readable.
export const logarithmic = (lowest) => (highest) => {
  const powers = Math.max(2, Math.ceil(Math.log10(Math.max(highest, lowest) / lowest) - 0.001));
  return {
    levels: Array.from({ length: powers + 1 }, (_, index) => lowest * 10 ** index),
    place: (one) => Math.max(0, Math.log10(Math.max(one, lowest) / lowest)) / powers,
  };
};
