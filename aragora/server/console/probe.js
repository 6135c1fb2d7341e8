// Whether the models of the council answer: each is asked one word, which costs next to nothing.

import { json } from "./api.js";
import { $, el, text } from "./dom.js";
import { t } from "./words.js";

// Each model once, however many agents have it.
export function distinct(agents) {
  const found = new Map(agents.map(({ type, model }) => [`${type}/${model || ""}`, model ? { type, model } : { type }]));
  return [...found.values()];
}

export function verdict(answer) {
  const seconds = answer.seconds.toFixed(1);
  return answer.ok ? t("answers, in {seconds} s", { seconds }) : text(answer.message) || text(answer.kind);
}

function row(asked) {
  const said = el("span", {}, t("is asked"));
  const name = el("strong", {}, [asked.type, asked.model].filter(Boolean).join(" · "));
  return { said, name, element: el("li", { dir: "auto" }, name, " ", said) };
}

async function ask(asked, { said, name, element }) {
  try {
    const answer = await json("POST", "/api/agents/ask", asked);
    name.textContent = `${answer.type} · ${answer.model}`;
    said.textContent = verdict(answer);
    element.dataset.state = answer.ok ? "good" : "bad";
  } catch (error) {
    said.textContent = error.message;
    element.dataset.state = "bad";
  }
}

// Asks the models of these agents at once, and shows what comes of each.
export async function probe(agents) {
  const models = distinct(agents).map((asked) => [asked, row(asked)]);
  $("probe").disabled = true;
  $("probe-results").replaceChildren(...models.map(([, shown]) => shown.element));
  await Promise.all(models.map(([asked, shown]) => ask(asked, shown)));
  $("probe").disabled = false;
}
