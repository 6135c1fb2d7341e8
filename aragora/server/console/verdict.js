// What a debate came to: whose answer, by which votes, why, and what it lacks. Words first, then their elements.

import { ring } from "./charts.js";
import { $, el, list, number, text } from "./dom.js";
import { phrase, show } from "./markdown.js";
import { isolated, n, percent, t } from "./words.js";

const SURE = [[0.85, "very sure"], [0.65, "sure"], [0.45, "fairly sure"], [0, "unsure"]];
const TIES = {
  confidence: "As many votes as another answer; ahead because its voters were surer.",
  criticism: "As many votes as another answer; ahead because it was criticised least.",
  lot: "As many votes as another answer, and no reason to prefer it: drawn by lot, which decides nothing.",
};
const DOING = { propose: "proposing", critique: "criticising", revise: "revising", vote: "voting", judge: "judging", synthesize: "summing up" };
const MENTION = /\b(answers?|proposals?|options?|candidates?)(\s+)([A-J])\b/gi;

// A text whose author knew the answers as A, B, C, with the names of those who gave them.
export function named(words, shown) {
  return text(words).replace(MENTION, (whole, noun, space, letter) => {
    if (letter !== letter.toUpperCase()) return whole;
    const name = list(shown)["ABCDEFGHIJ".indexOf(letter)];
    return name === undefined ? whole : `${whole} (${name})`;
  });
}

export function certainty(share) {
  return t(SURE.find(([least]) => number(share) >= least)?.[1] || "unsure");
}

export function title(verdict, mode) {
  if (verdict.reached === true) return t("Consensus");
  return mode === "none" ? t("Answers side by side") : t("No consensus");
}

// Whose answer it is, and by how many votes of how many.
export function headline(verdict, mode) {
  const choice = text(verdict.choice);
  if (!choice) return mode === "none" ? t("Nobody was asked to decide.") : "";
  const alike = list(verdict.alike?.[choice]);
  const whose = alike.length > 1 ? t("The answer of {names}", { names: alike.map(isolated).join(", ") }) : t("The answer of {name}", { name: choice });
  return [whose, counted(verdict, mode)].filter(Boolean).join(" · ");
}

function counted(verdict, mode) {
  const support = verdict.support;
  if (!support) return "";
  const { votes, of } = support;
  if (Object.keys(verdict.votes || {}).length <= 1) return t("given by {votes} of {of} agents", { votes, of });
  if (mode === "judge") return votes ? t("chosen by the judge") : t("not chosen by the judge");
  if (mode === "borda") return t("ranked first by {votes} of {of}", { votes, of });
  return n(of, "{votes} of {of} vote", "{votes} of {of} votes", { votes, of });
}

// What is to be known besides: pairs of a kind and a sentence.
export function remarks(verdict) {
  const found = [];
  if (verdict.stopped_early) found.push(["early", early(text(verdict.stopped_early))]);
  if (verdict.tied && TIES[verdict.tie_break]) found.push(["tie", t(TIES[verdict.tie_break])]);
  if (verdict.cut_short) found.push(["lack", t("The debate was cut short; the answer is the best one until then.")]);
  const part = verdict.took_part;
  if (part) found.push(["lack", t("{agents} of {of} agents took part in full.", part)]);
  for (const words of new Set(list(verdict.degraded).map(lack))) found.push(["lack", words]);
  return found;
}

function early(words) {
  const alike = /(\d+)\s*%/.exec(words);
  if (alike) return t("Stopped early: the answers were {share} alike.", { share: percent(alike[1] / 100) });
  return /vote/.test(words) ? t("Stopped early: all votes agreed.") : t("Stopped early: {why}", { why: words });
}

function lack(one) {
  const name = text(one.agent);
  const why = one.message ? `: ${text(one.message)}` : ".";
  if (one.kind === "cut") return t("The answer of {name} is not whole", { name }) + why;
  return t("{name} failed at {task}", { name, task: t(DOING[one.purpose] || text(one.purpose)) }) + why;
}

function voice(one, color, withChoice) {
  const name = text(one.agent);
  const facts = [one.judge ? t("judge") : "", withChoice ? t("for {name}", { name: text(one.choice) }) : "", t("{share} sure", { share: percent(one.confidence) })];
  return el(
    "li",
    { class: color(name) },
    el("p", {}, el("strong", { dir: "auto" }, name), " ", el("span", { class: "hint" }, facts.filter(Boolean).join(" · "))),
    one.reasoning ? el("p", { dir: "auto" }, ...phrase(named(one.reasoning, one.shown))) : el("p", { class: "hint" }, t("No reason given.")),
  );
}

function section(heading, ...content) {
  return el("section", {}, el("h3", {}, heading), ...content);
}

function voices(heading, votes, color, withChoice) {
  return votes.length ? [section(heading, el("ul", { class: "voices" }, ...votes.map((one) => voice(one, color, withChoice))))] : [];
}

function synthesis(found) {
  if (!found) return [];
  const answer = el("div", { class: "said" });
  show(answer, text(found.answer), 4);
  const lists = [["Agreed", list(found.agreements)], ["Disputed", list(found.disputes)], ["Minority opinion", found.minority ? [found.minority] : []]];
  const points = lists.filter(([, items]) => items.length).flatMap(([heading, items]) => [
    el("h4", {}, t(heading)),
    el("ul", { class: "points" }, ...items.map((item) => el("li", { dir: "auto" }, ...phrase(text(item))))),
  ]);
  return [section(t("Synthesis"), found.agent ? el("p", { class: "hint" }, t("by {name}", { name: text(found.agent) })) : null, answer, ...points)];
}

// Shows the verdict in the result's card. `color` is the class of an agent's name.
export function draw(verdict, { mode, color, answer }) {
  const card = $("result");
  card.hidden = false;
  card.dataset.kind = verdict.reached === true ? "reached" : "open";
  $("result-title").textContent = title(verdict, mode);
  $("result-whose").textContent = headline(verdict, mode);
  const measured = mode !== "none";
  $("result-ring").hidden = !measured;
  if (measured) {
    const said = t("confidence {share}: {word}", { share: percent(verdict.confidence), word: certainty(verdict.confidence) });
    $("result-ring").replaceChildren(ring(verdict.confidence, said), el("p", { class: "hint", "aria-hidden": true }, certainty(verdict.confidence)));
  }
  show($("result-answer"), answer || t("The agents did not agree on an answer."), 3);
  $("result-remarks").replaceChildren(...remarks(verdict).map(([kind, words]) => el("li", { class: kind, dir: "auto" }, words)));
  $("result-more").replaceChildren(
    ...synthesis(verdict.synthesis),
    ...voices(t("Reasons"), list(verdict.reasons), color, false),
    ...voices(t("Dissent"), list(verdict.dissent), color, true),
  );
  $("again").hidden = !list(verdict.degraded).length;
}

// Shows that there is no answer, and why.
export function drawFailure(status, reason) {
  const card = $("result");
  card.hidden = false;
  card.dataset.kind = "failed";
  $("result-title").textContent = status === "cancelled" ? t("Cancelled") : t("No answer");
  $("result-whose").textContent = reason || (status === "timeout" ? t("The time was up before there was an answer.") : t("The debate ended before there was an answer."));
  $("result-ring").hidden = true;
  for (const id of ["result-answer", "result-remarks", "result-more"]) $(id).replaceChildren();
  $("again").hidden = false;
}
