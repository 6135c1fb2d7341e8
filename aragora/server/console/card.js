// One agent's place in one round: what it is doing and for how long, what it said, and what others hold against it.

import { changes, kept } from "./diff.js";
import { el, list, text } from "./dom.js";
import { phrase, show } from "./markdown.js";
import { named } from "./verdict.js";
import { n, percent, t } from "./words.js";

const DOING = {
  propose: "proposes", critique: "reads the others", revise: "revises", vote: "votes", judge: "judges", synthesize: "sums up", think: "thinks",
};
const CUT = { length: "its limit of tokens was reached", content_filter: "its provider filtered it", window: "its context was full", pause: "it stopped and would not go on", circles: "it repeated itself" };
const LONGEST_SHOWN = 90; // seconds in which a clock counts seconds

function initials(name) {
  const last = /\d+$/.exec(name);
  return Array.from(name)[0].toUpperCase() + (last ? last[0].slice(-2) : "");
}

export function elapsed(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < LONGEST_SHOWN ? t("{count} s", { count: whole }) : t("{count} min", { count: Math.floor(whole / 60) });
}

export class AgentCard {
  constructor(name, color, place) {
    this.name = name;
    this.text = "";
    this.frame = 0;
    this.since = 0; // when what it is doing began, in ms; 0 while it does nothing
    this.task = "";
    this.done = false;
    this.severities = [];
    this.said = el("div", { class: "said" });
    this.state = el("span", { class: "doing", dir: "auto" });
    this.clock = el("span", { class: "clock" });
    this.failures = el("details", { class: "failures", hidden: true }, el("summary", {}));
    this.critiques = el("details", { class: "critiques", hidden: true }, el("summary", {}));
    this.changed = el("div", { class: "changed", hidden: true });
    const face = el("span", { class: "face", "aria-hidden": true }, initials(name));
    const head = el("header", {}, face, el("h3", { dir: "auto" }, name), el("span", { class: "state" }, this.state, this.clock));
    this.root = el("article", { class: `agent card ${color}`, "aria-label": name, "data-place": place }, head, this.changed, this.said, this.failures, this.critiques);
  }

  get busy() {
    return this.since > 0;
  }

  // It does this now; `at` is when it began, in ms.
  begins(task, at) {
    if (this.task === task && this.busy) return;
    this.task = task;
    this.since = Math.min(at, Date.now());
    this.state.textContent = t(DOING[task] || DOING.think);
    this.root.classList.remove("waiting");
    this.root.classList.add("busy");
    this.tick();
  }

  waits(place, why) {
    this.task = "";
    this.since ||= Date.now();
    this.state.textContent = place > 0 ? t("waits, place {place} in line", { place }) : t("waits for its provider");
    this.state.title = why;
    this.root.classList.add("busy", "waiting");
    this.tick();
  }

  rests(words) {
    this.since = 0;
    this.task = "";
    this.clock.textContent = "";
    if (words !== undefined) this.state.textContent = words;
    this.state.removeAttribute("title");
    this.root.classList.remove("busy", "waiting");
  }

  tick() {
    if (this.busy) this.clock.textContent = elapsed((Date.now() - this.since) / 1000);
  }

  // A piece of an answer that is being given. A watcher that comes late is sent it from its beginning.
  hears(piece, offset) {
    this.text = (offset === 0 ? "" : this.text) + piece;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      show(this.said, this.text);
    });
  }

  // The whole of what it said.
  says(data) {
    this.done = true;
    this.text = text(data.content);
    this.model = text(data.model);
    show(this.said, this.text);
    if (data.cut) this.said.append(el("p", { class: "hint" }, t("This answer is not whole: {why}.", { why: t(CUT[data.cut] || text(data.cut)) })));
    this.rests(this.model);
  }

  // How the answer differs from the one that the agent gave before. One that is the same is folded.
  differs(before) {
    const parts = changes(before, this.text);
    if (!parts) return;
    this.changed.hidden = false;
    if (before === this.text) {
      this.said.hidden = true;
      this.toggle(t("Unchanged since the last round"), t("Show"), t("Hide"), (shown) => (this.said.hidden = !shown));
      return;
    }
    const view = el("p", { class: "diff", dir: "auto", hidden: true }, ...parts.map((part) => (part.kind === "same" ? part.text : el(part.kind === "new" ? "ins" : "del", {}, part.text))));
    this.toggle(t("{share} kept", { share: percent(kept(parts)) }), t("What changed"), t("The answer"), (shown) => {
      view.hidden = !shown;
      this.said.hidden = shown;
    });
    this.changed.append(view);
  }

  toggle(words, show, hide, act) {
    const button = el("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => {
      const shown = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", String(shown));
      button.textContent = shown ? hide : show;
      act(shown);
    } }, show);
    this.changed.replaceChildren(el("p", { class: "hint" }, words, " ", button));
  }

  // It gave no answer; `again` says that it is asked once more.
  fails(words, again) {
    this.failures.append(el("p", { dir: "auto" }, words));
    this.failures.hidden = false;
    const count = this.failures.children.length - 1;
    this.failures.firstChild.textContent = n(count, "{count} failed attempt", "{count} failed attempts");
    if (this.done) return;
    this.text = "";
    show(this.said, "");
    if (again) this.begins("think", Date.now());
    else this.rests();
    this.state.textContent = again ? t("is asked again") : t("failed");
    this.root.classList.toggle("failed", !again);
    this.failures.open = !again;
  }

  criticised(by, color, data) {
    const known = typeof data.severity === "number";
    const severity = known ? Math.min(10, Math.max(0, data.severity)) : 0;
    if (known) this.severities.push(severity);
    const fill = el("span", { class: "severity-fill" });
    fill.style.width = `${severity * 10}%`;
    const meter = known ? [el("span", { class: "severity", "aria-hidden": true }, fill), el("span", { class: "hint" }, t("severity {severity} of 10", { severity }))] : [];
    const points = [...list(data.issues).map((item) => ["against", item]), ...list(data.suggestions).map((item) => ["better", item])];
    const words = (item) => phrase(named(item, data.shown));
    this.critiques.append(
      el(
        "div",
        { class: `critique ${color}` },
        el("p", { class: "critique-head" }, el("strong", { dir: "auto" }, by), ...meter),
        points.length ? el("ul", {}, ...points.map(([kind, item]) => el("li", { class: kind, dir: "auto" }, ...words(item)))) : null,
        data.reasoning ? el("p", { class: "hint", dir: "auto" }, ...words(data.reasoning)) : null,
      ),
    );
    this.critiques.hidden = false;
    const count = this.critiques.children.length - 1;
    const counted = n(count, "{count} critique", "{count} critiques");
    const worst = this.severities.length ? t(", worst {severity} of 10", { severity: Math.max(...this.severities) }) : "";
    this.critiques.firstChild.textContent = counted + worst;
  }
}
