// The form: the question, who takes part, by which rules, and what that would take.

import { Refused, json } from "./api.js";
import { Council, FEWEST_AGENTS } from "./council.js";
import { $, el } from "./dom.js";
import { Presets } from "./presets.js";
import { probe } from "./probe.js";
import { language, n, t } from "./words.js";

const EXAMPLES = [
  "Should we adopt event sourcing for the billing service?",
  "Rent or buy a home in a city where prices fall?",
  "Which database fits a chat application of ten million people?",
];
const PAUSE = 500; // ms without typing, after which an estimate is asked for
const STANDIN = "What should be decided?"; // estimates need a question, whatever it is

export class Ask {
  // `begun` is told the id of a new debate; `failed` any other end of a request.
  constructor(begun, failed) {
    this.begun = begun;
    this.failed = failed;
    this.council = new Council(() => this.changed());
    this.presets = new Presets((agents, rules) => this.take(agents, rules), failed);
    $("examples").append(...EXAMPLES.map((words) => el("button", { type: "button", class: "chip-button", onclick: () => this.question(t(words)) }, t(words))));
    $("ask-form").addEventListener("submit", (event) => this.submit(event));
    $("ask-form").addEventListener("input", () => this.changed());
    $("probe").addEventListener("click", () => probe(this.council.body()));
    $("rounds").addEventListener("input", () => this.rounds());
    $("fork-end").addEventListener("click", () => this.unfork());
    $("preset-save").addEventListener("click", () => this.keep());
    $("preset-name").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.keep();
    });
  }

  async load() {
    try {
      await Promise.all([this.council.load(), this.presets.load()]);
    } catch (error) {
      this.failed(error);
    }
    $("ask-form").removeAttribute("aria-busy"); // what is below the agents is shown when they have their places
  }

  question(words) {
    $("question").value = words;
    $("question").focus();
    this.changed();
  }

  rounds() {
    $("rounds-value").textContent = $("rounds").value;
    $("rounds").setAttribute("aria-valuetext", n(Number($("rounds").value), "{count} round", "{count} rounds"));
  }

  // Takes over what a council says; the rest stays as it is.
  take(agents, rules) {
    if (rules.rounds) $("rounds").value = rules.rounds;
    if (rules.consensus) $("consensus").value = rules.consensus;
    if (rules.early_stop !== undefined) $("early-stop").checked = rules.early_stop;
    if (rules.criteria !== undefined) $("criteria").value = rules.criteria;
    this.rounds();
    this.council.seat(agents);
  }

  // The form as it was for another debate; what is begun then knows what that one came to.
  fork(record) {
    this.parent = record.id;
    $("question").value = record.task;
    $("context").value = record.context || "";
    this.take(record.participants, record);
    $("fork-of").hidden = false;
    $("fork-name").textContent = record.title || record.task;
  }

  unfork() {
    this.parent = null;
    $("fork-of").hidden = true;
  }

  rules() {
    const rules = { agents: this.council.body(), rounds: Number($("rounds").value), consensus: $("consensus").value, early_stop: $("early-stop").checked };
    return $("criteria").value.trim() ? { ...rules, criteria: $("criteria").value } : rules;
  }

  body() {
    return { question: $("question").value, context: $("context").value, ...this.rules() };
  }

  keep() {
    const name = $("preset-name").value.trim();
    if (name) this.presets.change("PUT", name, this.rules());
    $("preset-name").value = "";
  }

  changed() {
    const seats = this.council.seats;
    if (seats.some((seat) => seat.office === "judge") && this.judged !== true) $("consensus").value = "judge";
    this.judged = seats.some((seat) => seat.office === "judge");
    const count = $("question").value.trim().length;
    $("question-count").textContent = count ? `${count} / ${$("question").maxLength}` : "";
    $("ask-button").disabled = seats.length < FEWEST_AGENTS;
    clearTimeout(this.timer);
    if (seats.length >= FEWEST_AGENTS) this.timer = setTimeout(() => this.estimate(), PAUSE);
  }

  async estimate() {
    const wanted = this.body();
    if (wanted.question.trim().length < STANDIN.length) wanted.question = STANDIN;
    try {
      const found = await json("POST", "/api/debates/estimate", wanted);
      const cost = found.cost.toLocaleString(language, { minimumFractionDigits: 2, maximumFractionDigits: found.cost < 0.1 ? 3 : 2 });
      $("estimate").textContent = found.questions
        ? t("at most {questions} questions, about {tokens} tokens, {cost} $", { questions: found.questions, tokens: found.tokens.toLocaleString(language), cost })
        : t("costs nothing: these agents work offline");
    } catch (error) {
      $("estimate").textContent = error instanceof Refused && error.status === 400 ? error.message : "";
    }
  }

  async submit(event) {
    event.preventDefault();
    const problem = $("question-problem");
    problem.hidden = true;
    $("ask-button").disabled = true;
    try {
      const wanted = this.body();
      const created = this.parent
        ? await json("POST", `/api/debates/${encodeURIComponent(this.parent)}/fork`, wanted)
        : await json("POST", "/api/debates", wanted);
      $("question").value = "";
      this.unfork();
      this.begun(created.debate_id);
    } catch (error) {
      if (error.status === 400) {
        problem.textContent = error.message;
        problem.hidden = false;
        $("question").focus();
      } else {
        this.failed(error);
      }
    } finally {
      this.changed();
    }
  }
}
