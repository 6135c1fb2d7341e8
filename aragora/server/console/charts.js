// The three figures: confidence as a ring, votes as bars, convergence as a line.

import { el, number, svg } from "./dom.js";
import { n, percent, t } from "./words.js";

const RING = 2 * Math.PI * 26;

export function ring(share, label) {
  const filled = RING * Math.min(1, Math.max(0, number(share)));
  return svg(
    "svg",
    { viewBox: "0 0 64 64", role: "img", "aria-label": label },
    svg("circle", { cx: 32, cy: 32, r: 26, class: "ring-track" }),
    svg("circle", { cx: 32, cy: 32, r: 26, class: "ring-value", "stroke-dasharray": `${filled} ${RING}` }),
    svg("text", { x: 32, y: 37, class: "ring-text" }, percent(share)),
  );
}

// votes: [{choice, voters: [{name, confidence}], people, color}]
export function bars(votes) {
  const most = Math.max(1, ...votes.map((vote) => vote.voters.length + vote.people));
  return votes.map((vote) => {
    const count = vote.voters.length + vote.people;
    const bar = el("span", { class: `bar-fill ${vote.color}` });
    bar.style.width = `${(100 * count) / most}%`;
    const voters = vote.voters.map((voter) => t("{name} ({share} sure)", { name: voter.name, share: percent(voter.confidence) }));
    if (vote.people) voters.push(n(vote.people, "{count} from people", "{count} from people"));
    return el(
      "div",
      { class: "vote-row" },
      el("span", { class: "vote-name" }, vote.choice),
      el("span", { class: "bar-track", "aria-hidden": true }, bar),
      el("strong", {}, String(count)),
      voters.length ? el("span", { class: "hint vote-who" }, voters.join(" · ")) : null,
    );
  });
}

const WIDTH = 320;
const HEIGHT = 140;
const LEFT = 42;
const BOTTOM = 20;

export function line(points, threshold) {
  const x = (index) => LEFT + 12 + (points.length < 2 ? 0 : (index * (WIDTH - LEFT - 32)) / (points.length - 1));
  const y = (value) => 8 + (1 - Math.min(1, Math.max(0, number(value)))) * (HEIGHT - BOTTOM - 8);
  const path = points.map((point, index) => `${index ? "L" : "M"}${x(index)} ${y(point.similarity)}`).join(" ");
  const label = points.map((point) => t("round {round}: {share}", { round: point.round, share: percent(point.similarity) })).join(", ");
  const grid = [0, 0.5, 1].flatMap((value) => [
    svg("line", { x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value), class: "grid" }),
    svg("text", { x: LEFT - 6, y: y(value) + 4, class: "tick end" }, percent(value)),
  ]);
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": t("Similarity of the answers: {label}", { label }) },
    ...grid,
    svg("line", { x1: LEFT, x2: WIDTH, y1: y(threshold), y2: y(threshold), class: "threshold" }),
    svg("path", { d: path, class: "curve" }),
    ...points.flatMap((point, index) => [
      svg("circle", { cx: x(index), cy: y(point.similarity), r: 4, class: "dot" }),
      svg("text", { x: x(index), y: HEIGHT - 4, class: "tick" }, String(point.round)),
    ]),
  );
}
