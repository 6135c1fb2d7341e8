// One debate on the page, folded from its events.

import { bars, line, ring } from "./charts.js";
import { $, el, list, number, percent, span, text } from "./dom.js";
import { phrase, show } from "./markdown.js";

const CONVERGED = 0.85;
const SPEAKING = new Set(["propose", "revise"]);
const DOING = { critique: "reads the others", vote: "votes", judge: "judges", synthesize: "sums up" };

function initials(name) {
  const number = /\d+$/.exec(name);
  return name.slice(0, 1).toUpperCase() + (number ? number[0].slice(-2) : "");
}

export class DebateView {
  constructor(record) {
    this.id = record.id;
    this.names = list(record.agents).map(text);
    this.total = number(record.rounds, 3);
    this.mode = text(record.consensus);
    this.sections = new Map();
    this.cards = new Map();
    this.votes = new Map();
    this.people = new Map();
    this.points = [];
    this.stage = 0; // 0: proposals, then the rounds
    this.rounds = $("rounds-view");
    this.rounds.replaceChildren();
    for (const id of ["votes", "convergence", "steps"]) $(id).replaceChildren();
    for (const id of ["result", "figures", "voice", "cancel"]) $(id).hidden = true;
    $("debate-title").textContent = text(record.title) || text(record.task);
    this.show(record);
    this.voteButtons();
  }

  // What the server says about the debate as a whole.
  show(record) {
    this.status(text(record.status));
    const facts = [`${this.names.length} agents`, `${this.total} ${this.total === 1 ? "round" : "rounds"}`, `decided by ${this.mode === "none" ? "nobody" : this.mode}`];
    if (!record.in_progress && record.duration_seconds !== null) facts.push(span(record.duration_seconds));
    $("facts").textContent = facts.join(" · ");
    if (record.final_answer && !record.in_progress) {
      this.result(record.consensus_reached, record.confidence, text(record.final_answer));
    }
  }

  status(status) {
    const ended = !["created", "running"].includes(status);
    $("status").textContent = status;
    $("status").dataset.status = status;
    $("cancel").hidden = ended;
    $("voice").hidden = ended;
    this.ended = ended;
    if (ended) this.still();
    this.steps();
  }

  apply(event) {
    const data = event.data && typeof event.data === "object" ? event.data : {};
    const known = {
      debate_start: () => {
        this.status("running");
        this.begin(0);
      },
      round_start: () => event.round > 1 && this.begin(event.round),
      agent_message: () => this.message(event, data),
      critique: () => this.critique(event, data),
      vote: () => this.vote(event, data),
      user_vote: () => this.person(data),
      user_suggestion: () => this.note(event.round, "suggestion", "Someone suggests: ", ...phrase(text(data.text))),
      convergence: () => this.converge(event, data),
      synthesis: () => this.note(event.round, "synthesis", `${text(event.agent)} sums up: `, ...phrase(text(data.answer))),
      consensus: () => this.result(data.reached === true, data.confidence, text(data.answer)),
      agent_error: () => this.failure(event, data),
      debate_end: () => this.status(text(data.status) || "completed"),
    }[event.type];
    if (known) known();
  }

  // What an agent is saying right now; replaced by its message when that is stored.
  delta(message) {
    const data = message.data || {};
    const name = text(data.agent);
    if (!name || this.ended) return;
    const stage = data.purpose === "propose" ? 0 : number(data.round);
    if (stage > this.stage) this.begin(stage);
    const card = this.card(stage, name);
    if (!SPEAKING.has(data.purpose)) {
      card.doing.textContent = DOING[data.purpose] || "thinks";
      card.root.classList.add("busy");
      return;
    }
    if (card.done) return;
    card.root.classList.add("busy");
    card.doing.textContent = data.purpose === "revise" ? "revises" : "proposes";
    // A watcher that comes late, or again, is sent the answer from its beginning.
    card.text = (data.offset === 0 ? "" : card.text) + text(data.text);
    this.write(card);
  }

  // Shows what an agent has said so far, at most once for each frame of the screen.
  write(card) {
    if (card.frame) return;
    card.frame = requestAnimationFrame(() => {
      card.frame = 0;
      show(card.said, card.text);
    });
  }

  place(name) {
    if (!this.names.includes(name)) this.names.push(name);
    return this.names.indexOf(name);
  }

  color(name) {
    return `agent-${this.place(name) % 10}`;
  }

  begin(stage) {
    this.stage = Math.max(this.stage, stage);
    for (const name of this.names) {
      const card = this.card(stage, name);
      if (!card.done) {
        card.doing.textContent = "thinks";
        card.root.classList.add("busy");
      }
    }
    this.steps();
  }

  section(round) {
    let section = this.sections.get(round);
    if (section) return section;
    const title = round === 0 ? "Proposals" : `Round ${round}`;
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
    const said = el("div", { class: "said" });
    const doing = el("span", { class: "doing" });
    const critiques = el("details", { class: "critiques" }, el("summary", {}));
    critiques.hidden = true;
    const face = el("span", { class: "face", "aria-hidden": true }, initials(name));
    const head = el("header", {}, face, el("h3", {}, name), doing);
    const root = el("article", { class: `agent card ${this.color(name)}` }, head, said, critiques);
    card = { root, said, doing, critiques, text: "", frame: 0, done: false, role: "", severities: [] };
    this.cards.set(key, card);
    // Agents keep their places from round to round, whoever speaks first.
    const place = this.place(name);
    root.dataset.place = place;
    const cards = this.section(round).cards;
    cards.insertBefore(root, [...cards.children].find((other) => Number(other.dataset.place) > place) || null);
    return card;
  }

  message(event, data) {
    const stage = data.role === "proposer" ? 0 : event.round;
    if (stage > this.stage) this.begin(stage);
    const card = this.card(stage, text(event.agent));
    card.done = true;
    card.role = text(data.role).replaceAll("_", " ");
    card.root.classList.remove("busy");
    card.doing.textContent = card.role;
    card.text = text(data.content);
    show(card.said, card.text);
    this.steps();
  }

  critique(event, data) {
    if (event.round > this.stage) this.begin(event.round);
    const card = this.card(event.round, text(data.target));
    const known = typeof data.severity === "number";
    const severity = known ? Math.min(10, Math.max(0, data.severity)) : 0;
    if (known) card.severities.push(severity);
    const fill = el("span", { class: "severity-fill" });
    fill.style.width = `${severity * 10}%`;
    const body = el(
      "div",
      { class: `critique ${this.color(text(event.agent))}` },
      el("p", { class: "critique-head" }, el("strong", {}, text(event.agent)), ...(known ? [el("span", { class: "severity", title: `severity ${severity} of 10` }, fill), el("span", { class: "hint" }, `${severity}/10`)] : [])),
    );
    const points = [...list(data.issues).map((item) => ["against", item]), ...list(data.suggestions).map((item) => ["better", item])];
    if (points.length) body.append(el("ul", {}, ...points.map(([kind, item]) => el("li", { class: kind, dir: "auto" }, ...phrase(text(item))))));
    if (data.reasoning) body.append(el("p", { class: "hint", dir: "auto" }, ...phrase(text(data.reasoning))));
    card.critiques.append(body);
    card.critiques.hidden = false;
    const count = card.critiques.children.length - 1;
    const worst = card.severities.length ? `, worst ${Math.max(...card.severities)}/10` : "";
    card.critiques.firstChild.textContent = `${count} ${count === 1 ? "critique" : "critiques"}${worst}`;
  }

  vote(event, data) {
    this.votes.set(text(event.agent), { choice: text(data.choice), confidence: data.confidence });
    const card = this.cards.get(`${event.round}\n${text(event.agent)}`);
    if (card) {
      card.root.classList.remove("busy");
      card.doing.textContent = card.role;
    }
    this.drawVotes();
  }

  person(data) {
    const choice = text(data.choice);
    this.people.set(choice, (this.people.get(choice) || 0) + 1);
    this.drawVotes();
  }

  drawVotes() {
    const choices = new Map(this.names.map((name) => [name, []]));
    for (const [name, vote] of this.votes) {
      if (!choices.has(vote.choice)) choices.set(vote.choice, []);
      choices.get(vote.choice).push({ name, confidence: vote.confidence });
    }
    const rows = [...choices].map(([choice, voters]) => ({ choice, voters, people: this.people.get(choice) || 0, color: this.color(choice) }));
    rows.sort((a, b) => b.voters.length + b.people - a.voters.length - a.people);
    $("votes").replaceChildren(...bars(rows));
    $("figures").hidden = false;
  }

  converge(event, data) {
    this.points.push({ round: event.round, similarity: data.similarity });
    const threshold = number(data.threshold, CONVERGED);
    $("convergence").replaceChildren(line(this.points, threshold));
    $("convergence-hint").textContent = `${percent(data.similarity)} alike after round ${event.round}; the answers count as converged from ${percent(threshold)}.`;
    $("figures").hidden = false;
    if (!this.votes.size) this.drawVotes();
  }

  failure(event, data) {
    const what = text(data.message) || text(data.error) || text(data.kind) || "gave no answer";
    this.note(event.round, "failure", `${text(event.agent) || "An agent"}: ${what}`);
    const card = this.cards.get(`${this.stage}\n${text(event.agent)}`);
    if (card && !card.done) {
      card.root.classList.remove("busy");
      card.doing.textContent = data.retry === true ? "is asked again" : "failed";
      card.text = "";
      show(card.said, card.text);
    }
  }

  note(round, kind, ...words) {
    this.section(round).notes.append(el("p", { class: `note ${kind}`, dir: "auto" }, ...words));
  }

  result(reached, confidence, answer) {
    const title = reached ? "Consensus" : this.mode === "none" ? "Answer" : "No consensus";
    $("result").hidden = false;
    $("result").classList.toggle("reached", reached);
    $("result-title").textContent = title;
    show($("result-answer"), answer || "The agents did not agree on an answer.", 3);
    $("result-ring").replaceChildren(ring(confidence, `confidence ${percent(confidence)}`));
  }

  still() {
    for (const [key, card] of this.cards) {
      if (card.root.classList.contains("busy")) card.doing.textContent = "";
      card.root.classList.remove("busy");
      if (card.done || card.severities.length || card.doing.textContent) continue;
      card.root.remove();
      this.cards.delete(key);
    }
    for (const section of this.sections.values()) {
      section.root.hidden = !section.cards.children.length && !section.notes.children.length;
    }
  }

  steps() {
    const names = ["Proposals", ...Array.from({ length: this.total }, (_, index) => `Round ${index + 1}`), this.mode === "judge" ? "Judgement" : "Vote"];
    const decided = this.votes.size > 0 || !$("result").hidden;
    const at = decided ? names.length - 1 : Math.min(this.stage, this.total);
    $("steps").replaceChildren(
      ...names.map((name, index) => {
        const skipped = this.ended && index > this.stage && index < names.length - 1;
        const state = skipped ? "skipped" : this.ended || index < at ? "done" : index === at ? "now" : "next";
        return el("li", { class: state, "aria-current": state === "now" ? "step" : null }, name);
      }),
    );
  }

  voteButtons() {
    $("vote-buttons").replaceChildren(
      ...this.names.map((name) => el("button", { class: `button small plain pick ${this.color(name)}`, type: "button", "data-choice": name }, `Vote for ${name}`)),
    );
  }
}
