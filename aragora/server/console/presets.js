// Councils to choose from: ours, and those that are kept on the server.

import { json, request } from "./api.js";
import { $, el, list, text } from "./dom.js";
import { t } from "./words.js";

const OURS = [
  {
    name: "Three lenses",
    rules: { consensus: "majority" },
    agents: [
      { role: "the engineer who builds it and is called at night" },
      { role: "the person who pays for it and answers for the budget" },
      { role: "the customer who has to live with it" },
    ],
  },
  {
    name: "Red team",
    rules: { consensus: "majority" },
    agents: [
      { role: "advocate of the boldest option" },
      { role: "red team: looks for how each plan fails, and names what would show it" },
      { role: "the person who has to carry the plan out" },
      { role: "chairman" },
    ],
  },
  { name: "Two models and a judge", rules: { consensus: "judge" }, agents: [{}, {}, { role: "judge" }] },
];

const path = (name) => `/api/presets/${encodeURIComponent(name)}`;

export class Presets {
  constructor(apply, failed) {
    this.apply = apply;
    this.failed = failed;
  }

  async load() {
    const kept = list((await json("GET", "/api/presets")).presets);
    $("presets").replaceChildren(
      ...OURS.map(({ name, agents, rules }) => chip(t(name), () => this.apply(agents.map((agent) => ({ type: "", ...agent, ...(standpoint(agent) ? { role: t(agent.role) } : {}) })), rules))),
      ...kept.map((preset) => this.kept(preset)),
    );
  }

  kept(preset) {
    const name = text(preset.name);
    const use = chip(name, () => this.apply(list(preset.body?.agents), preset.body || {}));
    use.title = text(preset.description);
    if (!preset.is_own) return use;
    const forget = el("button", { type: "button", class: "chip-remove", "aria-label": t("Forget the preset {name}", { name }), onclick: () => this.change("DELETE", name) }, el("span", { "aria-hidden": true }, "✕"));
    return el("span", { class: "chip-pair" }, use, forget);
  }

  // Keeps a council under a name, or forgets the one that is kept there.
  async change(method, name, body) {
    try {
      await request(method, path(name), body);
      await this.load();
    } catch (error) {
      this.failed(error);
    }
  }
}

const standpoint = (agent) => agent.role && agent.role !== "judge" && agent.role !== "chairman";

function chip(words, onclick) {
  return el("button", { type: "button", class: "chip-button", onclick }, words);
}
