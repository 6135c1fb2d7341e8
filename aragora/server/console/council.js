// Who takes part: one seat for each agent, with its model, name, standpoint and office.

import { json } from "./api.js";
import { $, el, list, text } from "./dom.js";
import { t } from "./words.js";

export const MOST_AGENTS = 10;
export const FEWEST_AGENTS = 2;
const OFFICES = { debater: "debates", judge: "judges only", chairman: "sums up" };
const EFFORTS = { "": "as its model likes", low: "low", medium: "medium", high: "high" };

// The agents of a request as seats, and back: an office travels as the role of that name.
export function seated(agent) {
  const given = typeof agent === "string" ? { type: agent } : agent;
  const office = given.role === "judge" || given.role === "chairman" ? given.role : "debater";
  return {
    type: text(given.type), name: text(given.name), model: text(given.model), office,
    role: office === "debater" ? text(given.role) : "", persona: text(given.persona), effort: text(given.effort),
  };
}

export function asked(seat) {
  const given = { type: seat.type, name: seat.name, model: seat.model, role: seat.office === "debater" ? seat.role : seat.office, persona: seat.persona, effort: seat.effort };
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
}

// The names that agents without one of their own are given: gpt-1, gpt-2 ... beside those that were chosen.
export function names(seats) {
  const taken = new Set(seats.map((seat) => seat.name.trim()).filter(Boolean));
  return seats.map((seat) => {
    if (seat.name.trim()) return seat.name.trim();
    let number = 1;
    while (taken.has(`${seat.type}-${number}`)) number += 1;
    taken.add(`${seat.type}-${number}`);
    return `${seat.type}-${number}`;
  });
}

export class Council {
  constructor(changed) {
    this.changed = changed;
    this.seats = [];
    this.types = [];
    this.offers = new Map();
  }

  get ready() {
    const real = this.types.filter((type) => type.available && type.name !== "demo").map((type) => type.name);
    return real.length ? real : ["demo"];
  }

  get debaters() {
    return this.seats.filter((seat) => seat.office === "debater").length;
  }

  async load() {
    this.types = list((await json("GET", "/api/agents")).agents);
    const ready = this.ready;
    const count = ready.length > 1 ? Math.min(3, ready.length) : ready[0] === "demo" ? 3 : 2;
    if (!this.seats.length) this.seats = Array.from({ length: count }, (_, place) => seated(ready[place % ready.length]));
    this.draw();
  }

  // Takes these agents; those whose provider is not there are given one that is.
  seat(agents) {
    const known = new Set(this.types.filter((type) => type.available).map((type) => type.name));
    const ready = this.ready;
    this.seats = agents.slice(0, MOST_AGENTS).map((agent, place) => {
      const seat = seated(agent);
      return known.has(seat.type) ? seat : { ...seat, type: ready[place % ready.length], model: "" };
    });
    this.draw();
  }

  body() {
    return this.seats.map(asked);
  }

  draw(open = -1) {
    const named = names(this.seats);
    $("agent-list").replaceChildren(...this.seats.map((seat, place) => this.row(seat, place, named[place], place === open)));
    const types = this.types.filter((type) => type.available);
    $("agent-add").replaceChildren(...types.map((type) => el("button", { type: "button", class: "chip-button", disabled: this.seats.length >= MOST_AGENTS, onclick: () => this.add(type.name) }, `+ ${text(type.title) || type.name}`)));
    const missing = this.types.filter((type) => !type.available);
    $("agent-more").hidden = !missing.length;
    $("agent-more").firstElementChild.textContent = t("More models ({count})", { count: missing.length });
    $("agent-missing").replaceChildren(...missing.map((type) => el("li", {}, el("strong", {}, text(type.title) || type.name), " ", t("needs"), " ", el("code", {}, text(type.missing)))));
    this.tell();
  }

  tell() {
    const count = this.seats.length;
    $("agent-count").textContent = count < FEWEST_AGENTS ? t("{count}, at least {least} are needed", { count, least: FEWEST_AGENTS }) : t("{count} of at most {most}", { count, most: MOST_AGENTS });
    this.changed();
  }

  add(type) {
    this.seats.push(seated(type));
    this.draw();
  }

  row(seat, place, name, open) {
    const type = this.types.find((one) => one.name === seat.type);
    const facts = () => [text(type?.title) || seat.type, seat.model, seat.office === "debater" ? seat.role : t(OFFICES[seat.office])].filter(Boolean).join(" · ");
    const shown = el("strong", { dir: "auto" }, name);
    const hint = el("span", { class: "hint", dir: "auto" }, facts());
    const update = () => {
      hint.textContent = facts();
      names(this.seats).forEach((each, at) => ($("agent-list").children[at].querySelector("strong").textContent = each));
      this.tell();
    };
    const remove = el("button", { type: "button", class: "quiet icon", "aria-label": t("Remove {name}", { name }), onclick: () => {
      this.seats.splice(place, 1);
      this.draw();
    } }, el("span", { "aria-hidden": true }, "✕"));
    return el("li", { class: `seat agent-${place % 10}` }, el("details", { open }, el("summary", {}, el("span", { class: "face", "aria-hidden": true }, Array.from(name)[0].toUpperCase()), el("span", { class: "agent-name" }, shown, hint)), this.fields(seat, place, update)), remove);
  }

  fields(seat, place, update) {
    const bound = (input, member) => {
      input.value = seat[member];
      input.addEventListener("input", () => {
        seat[member] = input.value;
        update();
      });
      return input;
    };
    const options = (pairs) => Object.entries(pairs).map(([value, words]) => el("option", { value }, t(words)));
    const types = Object.fromEntries(this.types.filter((type) => type.available || type.name === seat.type).map((type) => [type.name, text(type.title) || type.name]));
    const provider = bound(el("select", {}, ...options(types)), "type");
    provider.addEventListener("change", () => {
      seat.model = "";
      this.draw(place);
    });
    const offered = el("datalist", { id: `models-${place}` });
    const model = bound(el("input", { list: offered.id, maxlength: 128, placeholder: t("its usual model"), autocomplete: "off", spellcheck: "false" }), "model");
    model.addEventListener("focus", () => this.offer(seat.type, offered));
    return el(
      "div",
      { class: "fields" },
      field("Provider", provider),
      field("Model", model, offered),
      field("Name", bound(el("input", { maxlength: 64, dir: "auto", autocomplete: "off" }), "name")),
      field("Office", bound(el("select", {}, ...options(OFFICES)), "office")),
      field("Standpoint", bound(el("input", { maxlength: 200, dir: "auto", autocomplete: "off", placeholder: t("an engineer who is called at night") }), "role")),
      field("Effort", bound(el("select", {}, ...options(EFFORTS)), "effort")),
      field("Persona", bound(el("textarea", { rows: 2, maxlength: 2000, dir: "auto" }), "persona")),
    );
  }

  // What the provider has to choose from; it is asked when somebody wants to know, and again if it had nothing.
  async offer(type, offered) {
    if (offered.children.length) return;
    if (!this.offers.has(type)) this.offers.set(type, json("GET", `/api/agents/models?type=${encodeURIComponent(type)}`).catch(() => ({})));
    const found = await this.offers.get(type);
    const models = list(found.providers).flatMap((provider) => list(provider.models));
    if (!models.length) this.offers.delete(type);
    offered.replaceChildren(...models.map((model) => el("option", { value: text(model.id) })));
  }
}

function field(words, ...controls) {
  return el("label", {}, el("span", {}, t(words)), ...controls);
}
