// One debate on the page, folded from its events.

import { AgentCard } from "./card.js";
import { bars, line } from "./charts.js";
import { $, el, list, number, span, text } from "./dom.js";
import { phrase } from "./markdown.js";
import { draw, drawFailure } from "./verdict.js";
import { language, n, percent, t } from "./words.js";

const CONVERGED = 0.85;
const SPEAKING = new Set(["propose", "revise"]);
const MODES = {
  majority: "decided by majority", supermajority: "decided by supermajority", unanimous: "decided by unanimity", weighted: "decided by weighted votes",
  borda: "decided by rankings", judge: "decided by a judge", none: "answers only",
};
export const STATUS = { created: "created", running: "running", completed: "completed", failed: "failed", timeout: "timed out", cancelled: "cancelled" };

export class DebateView {
  constructor(record) {
    this.id = record.id;
    this.question = text(record.task);
    this.names = list(record.agents).map(text);
    this.total = number(record.rounds, 3);
    this.mode = text(record.consensus);
    this.sections = new Map();
    this.cards = new Map();
    this.votes = new Map();
    this.people = new Map();
    this.points = [];
    this.stage = 0; // 0: proposals, then the rounds
    this.decided = false;
    this.rounds = $("rounds-view");
    this.rounds.replaceChildren();
    for (const id of ["votes", "convergence", "steps"]) $(id).replaceChildren();
    for (const id of ["result", "figures", "voice", "cancel", "again"]) $(id).hidden = true;
    $("debate-title").textContent = text(record.title) || this.question;
    this.show(record);
    this.voteButtons();
  }

  // What the server says about the debate as a whole.
  show(record) {
    this.status(text(record.status), record.reason);
    const facts = [n(this.names.length, "{count} agent", "{count} agents"), n(this.total, "{count} round", "{count} rounds"), t(MODES[this.mode] || this.mode)];
    if (!record.in_progress && record.duration_seconds !== null) facts.push(span(record.duration_seconds));
    const spent = record.usage;
    if (spent?.questions) facts.push(t("{count} tokens", { count: (spent.input + spent.output).toLocaleString(language) }), `${spent.cost.toFixed(spent.cost < 1 ? 4 : 2)} $`);
    $("facts").textContent = facts.join(" · ");
    if (record.verdict && !this.decided) this.decide(record.verdict, text(record.final_answer));
  }

  status(status, reason) {
    const ended = !["created", "running"].includes(status);
    $("status").textContent = t(STATUS[status] || status);
    $("status").dataset.status = status;
    $("cancel").hidden = ended;
    $("voice").hidden = ended;
    this.ended = ended;
    if (ended) this.still();
    if (ended && !this.decided && status !== "completed") drawFailure(status, text(reason));
    this.steps();
  }

  apply(event) {
    const data = event.data && typeof event.data === "object" ? event.data : {};
    const at = number(event.timestamp) * 1000;
    const known = {
      debate_start: () => {
        this.status("running");
        this.begin(0, at);
      },
      round_start: () => event.round > 1 && this.begin(event.round, at),
      agent_message: () => this.message(event, data, at),
      critique: () => this.critique(event, data, at),
      vote: () => this.vote(event, data),
      user_vote: () => this.person(data),
      user_suggestion: () => this.note(event.round, "suggestion", t("Someone suggests: "), ...phrase(text(data.text))),
      convergence: () => this.converge(event, data),
      consensus: () => this.decide(data, text(data.answer)),
      agent_error: () => this.failure(event, data),
      agent_waiting: () => this.cardOf(event, data).waits(number(data.place), text(data.message)),
      debate_end: () => this.status(text(data.status) || "completed", data.reason),
    }[event.type];
    if (known) known();
  }

  // What an agent is saying right now; replaced by its message when that is stored.
  delta(message) {
    const data = message.data || {};
    const name = text(data.agent);
    if (!name || this.ended) return;
    const card = this.cardOf({ round: data.round, agent: name }, data);
    if (card.done && SPEAKING.has(data.purpose)) return;
    card.begins(text(data.purpose), Date.now());
    if (SPEAKING.has(data.purpose)) card.hears(text(data.text), data.offset);
  }

  // The card on which an event of this purpose shows.
  cardOf(event, data) {
    const stage = data.purpose === "propose" ? 0 : number(event.round);
    if (stage > this.stage) this.begin(stage, Date.now());
    return this.card(stage, text(event.agent));
  }

  place(name) {
    if (!this.names.includes(name)) this.names.push(name);
    return this.names.indexOf(name);
  }

  color(name) {
    return `agent-${this.place(name) % 10}`;
  }

  begin(stage, at) {
    this.stage = Math.max(this.stage, stage);
    for (const name of this.names) {
      const card = this.card(stage, name);
      if (!card.done) card.begins(stage === 0 ? "propose" : "critique", at);
    }
    this.steps();
  }

  section(round) {
    let section = this.sections.get(round);
    if (section) return section;
    const title = round === 0 ? t("Proposals") : t("Round {round}", { round });
    const cards = el("div", { class: "cards" });
    const notes = el("div", { class: "notes" });
    const root = el("section", { class: "round", "aria-label": title }, el("h2", { class: "round-title" }, el("span", {}, title)), notes, cards);
    section = { root, cards, notes };
    this.sections.set(round, section);
    const after = [...this.sections.keys()].filter((other) => other > round).sort((a, b) => a - b)[0];
    this.rounds.insertBefore(root, after === undefined ? null : this.sections.get(after).root);
    return section;
  }

  card(round, name) {
    const key = `${round}\n${name}`;
    let card = this.cards.get(key);
    if (card) return card;
    // Agents keep their places from round to round, whoever speaks first.
    const place = this.place(name);
    card = new AgentCard(name, this.color(name), place);
    this.cards.set(key, card);
    const cards = this.section(round).cards;
    cards.insertBefore(card.root, [...cards.children].find((other) => Number(other.dataset.place) > place) || null);
    return card;
  }

  message(event, data, at) {
    const stage = data.role === "proposer" ? 0 : event.round;
    if (stage > this.stage) this.begin(stage, at);
    const card = this.card(stage, text(event.agent));
    card.says(data);
    const before = stage > 0 && this.before(stage, text(event.agent));
    if (before) card.differs(before.text);
    this.steps();
  }

  // The card of the last answer before this stage.
  before(stage, name) {
    for (let earlier = stage - 1; earlier >= 0; earlier -= 1) {
      const card = this.cards.get(`${earlier}\n${name}`);
      if (card?.done) return card;
    }
    return null;
  }

  critique(event, data, at) {
    if (event.round > this.stage) this.begin(event.round, at);
    this.card(event.round, text(data.target)).criticised(text(event.agent), this.color(text(event.agent)), data);
    const own = this.cards.get(`${event.round}\n${text(event.agent)}`);
    if (own && !own.done) own.begins("think", at);
  }

  vote(event, data) {
    this.votes.set(text(event.agent), { choice: text(data.choice), confidence: data.confidence });
    const card = this.cards.get(`${event.round}\n${text(event.agent)}`);
    if (card) card.rests(card.model);
    this.drawVotes();
    this.steps();
  }

  person(data) {
    const choice = text(data.choice);
    this.people.set(choice, (this.people.get(choice) || 0) + 1);
    this.drawVotes();
  }

  drawVotes() {
    const voted = new Set([...this.votes.values()].map((vote) => vote.choice));
    const answered = this.names.filter((name) => voted.has(name) || this.people.has(name) || this.cards.get(`${this.stage}\n${name}`)?.done || this.cards.get(`0\n${name}`)?.done);
    const choices = new Map([...answered, ...voted].map((name) => [name, []]));
    for (const [name, vote] of this.votes) choices.get(vote.choice).push({ name, confidence: vote.confidence });
    const rows = [...choices].map(([choice, voters]) => ({ choice, voters, people: this.people.get(choice) || 0, color: this.color(choice) }));
    rows.sort((a, b) => b.voters.length + b.people - a.voters.length - a.people);
    $("votes").replaceChildren(...bars(rows));
    $("votes-hint").hidden = !this.people.size;
    $("figures").hidden = false;
  }

  converge(event, data) {
    this.points.push({ round: event.round, similarity: data.similarity });
    const threshold = number(data.threshold, CONVERGED);
    // One round is a number, not a curve.
    $("convergence").replaceChildren(...(this.points.length > 1 ? [line(this.points, threshold)] : []));
    $("convergence-hint").textContent = t("{share} alike after round {round}; answers count as converged from {threshold}.", { share: percent(data.similarity), round: event.round, threshold: percent(threshold) });
    $("figures").hidden = false;
    if (!this.votes.size) this.drawVotes();
  }

  failure(event, data) {
    const what = text(data.message) || text(data.error) || text(data.kind) || t("gave no answer");
    const purpose = data.purpose === "propose" || (!data.purpose && this.stage === 0) ? "propose" : text(data.purpose);
    this.cardOf(event, { purpose }).fails(what, data.retry === true);
  }

  note(round, kind, ...words) {
    this.section(round).notes.append(el("p", { class: `note ${kind}`, dir: "auto" }, ...words));
  }

  decide(verdict, answer) {
    this.decided = true;
    draw(verdict, { mode: this.mode, color: (name) => this.color(name), answer });
    this.steps();
  }

  // Once a second while the debate runs.
  tick() {
    for (const card of this.cards.values()) card.tick();
  }

  still() {
    for (const [key, card] of this.cards) {
      if (card.busy) card.rests("");
      if (card.done || card.severities.length || !card.failures.hidden) continue;
      card.root.remove();
      this.cards.delete(key);
    }
    for (const section of this.sections.values()) {
      section.root.hidden = !section.cards.children.length && !section.notes.children.length;
    }
  }

  steps() {
    const last = this.mode === "none" ? [] : [this.mode === "judge" ? t("Judgement") : t("Vote")];
    const names = [t("Proposals"), ...Array.from({ length: this.total }, (_, index) => t("Round {round}", { round: index + 1 })), ...last];
    const at = this.votes.size > 0 || this.decided ? names.length - 1 : Math.min(this.stage, this.total);
    const failed = this.ended && !this.decided;
    $("steps").replaceChildren(
      ...names.map((name, index) => {
        const skipped = this.ended && index > this.stage && (failed || index < names.length - 1);
        const state = skipped ? "skipped" : this.ended || index < at ? "done" : index === at ? "now" : "next";
        return el("li", { class: state, "aria-current": state === "now" ? "step" : null }, name);
      }),
    );
  }

  voteButtons() {
    $("vote-buttons").replaceChildren(
      ...this.names.map((name) => el("button", { class: `button small plain pick ${this.color(name)}`, type: "button", "data-choice": name, "aria-pressed": "false" }, t("Vote for {name}", { name }))),
    );
  }
}
