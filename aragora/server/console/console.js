// The page: addresses, the list of past debates, the form, and one debate at a time.

import { Follower, json, request, token } from "./api.js";
import { Ask } from "./ask.js";
import { DebateView, STATUS } from "./debate.js";
import { $, ago, el, list, text } from "./dom.js";
import { Watch, decision, toResult } from "./live.js";
import { headline, title } from "./verdict.js";
import { t, translate } from "./words.js";

const PAGE = 20;
const FORMS = ["md", "html", "txt", "json", "csv"];

let follower = null;
let view = null;
let watch = null;
let cursor = null;

function notice(words) {
  $("notice").textContent = words || "";
  $("notice").hidden = !words;
}

function linkState(state) {
  const words = { connecting: "connecting", live: "live", lost: "reconnecting", idle: "idle" };
  $("link-state").dataset.state = state;
  $("link-state").lastElementChild.textContent = t(words[state]);
  if (state === "live") notice("");
}

function failed(error) {
  if (error.status === 401) askForToken();
  notice(error.message);
}

function askForToken() {
  if (!$("token-dialog").open) $("token-dialog").showModal();
  $("token").focus();
}

// Past debates -------------------------------------------------------------------------------------------------

function pastItem(debate) {
  const link = el(
    "a",
    { href: `#/d/${encodeURIComponent(text(debate.id))}` },
    el("span", { class: "past-title", dir: "auto" }, text(debate.title) || text(debate.task)),
    el("span", { class: "hint" }, el("i", { class: "dot-status", "data-status": text(debate.status) }), `${t(STATUS[debate.status] || text(debate.status))} · ${ago(debate.created_at)}`),
  );
  const item = el("li", { "data-id": text(debate.id) }, link);
  item.classList.toggle("here", view !== null && view.id === debate.id);
  return item;
}

async function loadPast(more = false) {
  const query = new URLSearchParams({ limit: PAGE });
  const words = $("search").value.trim();
  if (words) query.set("q", words);
  if (more && cursor) query.set("cursor", cursor);
  try {
    const page = await json("GET", `/api/debates?${query}`);
    if (words !== $("search").value.trim()) return;
    const items = list(page.debates).map(pastItem);
    if (more) $("past-list").append(...items);
    else $("past-list").replaceChildren(...items);
    cursor = page.next_cursor;
    $("past-more").hidden = !cursor;
    $("past-empty").hidden = $("past-list").children.length > 0;
    $("past-empty").textContent = words ? "No debate has these words." : "Nothing here yet.";
  } catch (error) {
    failed(error);
  }
}

// The form -----------------------------------------------------------------------------------------------------

const form = new Ask((id) => {
  location.hash = `#/d/${id}`;
  loadPast();
}, failed);

// One debate ---------------------------------------------------------------------------------------------------

async function open(id) {
  notice("");
  $("ask").hidden = true;
  try {
    const record = await json("GET", `/api/debates/${encodeURIComponent(id)}`);
    if (route() !== id) return;
    view = new DebateView(record);
    $("debate").hidden = false;
    const name = `${text(record.title)} · Aragora`;
    document.title = name;
    exportLinks(record.id);
    marked();
    if (record.in_progress) watch = new Watch(view, name);
    follow(record.id, record.in_progress);
  } catch (error) {
    if (error.status === 404) notice("There is no such debate; perhaps it was deleted.");
    else failed(error);
  }
}

function follow(id, running) {
  follower = new Follower(id, {
    event(event) {
      view.apply(event);
      told(event);
      // What has ended before the page was opened is replayed: nothing about it is new.
      if (event.type === "debate_end" && running) finished(id);
    },
    delta: (message) => view.delta(message),
    state: linkState,
    refused(code, words) {
      if (code === 4001) askForToken();
      else if (code === 4003) notice("This page may not connect: its address is not one the server allows.");
      else if (code === 4004) notice("This debate was deleted.");
      else notice(words);
    },
  });
}

function told(event) {
  if (event.type === "consensus") watch?.decided(decision(title(event.data, view.mode), headline(event.data, view.mode)), "✓");
  if (event.type !== "debate_end") return;
  const status = text(event.data.status);
  watch?.decided(t("The debate has ended: {status}", { status: t(STATUS[status] || status) }), status === "completed" ? "✓" : "✗");
}

async function finished(id) {
  loadPast();
  try {
    const record = await json("GET", `/api/debates/${encodeURIComponent(id)}`);
    if (view && view.id === id) view.show(record);
  } catch (error) {
    failed(error);
  }
}

function exportLinks(id) {
  const download = (form) => async () => {
    $("export-menu").open = false;
    try {
      const answer = await request("GET", `/api/debates/${encodeURIComponent(id)}/export/${form}`);
      const link = el("a", { href: URL.createObjectURL(await answer.blob()), download: `${id}.${form}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    } catch (error) {
      failed(error);
    }
  };
  const names = { md: "Markdown", html: "HTML", txt: "Plain text", json: "JSON", csv: "CSV" };
  $("export-list").replaceChildren(...FORMS.map((form) => el("li", {}, el("button", { type: "button", onclick: download(form) }, names[form]))));
}

async function askAgain() {
  $("again").disabled = true;
  try {
    const created = await json("POST", `/api/debates/${encodeURIComponent(view.id)}/ask-again`, {});
    location.hash = `#/d/${created.debate_id}`;
    loadPast();
  } catch (error) {
    failed(error);
  } finally {
    $("again").disabled = false;
  }
}

async function cancel() {
  $("cancel").disabled = true;
  try {
    await request("POST", `/api/debates/${encodeURIComponent(view.id)}/cancel`);
  } catch (error) {
    if (error.status !== 409) failed(error);
  } finally {
    $("cancel").disabled = false;
  }
}

function suggest(event) {
  event.preventDefault();
  const words = $("suggestion").value.trim();
  if (!words || !view) return;
  follower.send({ type: "user_suggestion", debate_id: view.id, text: words });
  $("suggestion").value = "";
}

function vote(event) {
  const choice = event.target.dataset.choice;
  if (!choice || !view) return;
  follower.send({ type: "user_vote", debate_id: view.id, choice });
  for (const button of $("vote-buttons").children) {
    button.disabled = true;
    button.setAttribute("aria-pressed", String(button === event.target));
  }
}

function marked() {
  for (const item of $("past-list").children) item.classList.toggle("here", view !== null && item.dataset.id === view.id);
}

// Addresses, keys, looks ---------------------------------------------------------------------------------------

function route() {
  const found = /^#\/d\/([\w-]{1,64})$/.exec(location.hash);
  return found ? found[1] : null;
}

function go() {
  follower?.stop();
  follower = null;
  watch?.stop();
  watch = null;
  view = null;
  linkState("idle");
  document.body.classList.remove("past-open");
  $("toggle-past").setAttribute("aria-expanded", "false");
  $("debate").hidden = true;
  marked();
  const id = route();
  if (id) {
    open(id);
    return;
  }
  notice("");
  document.title = "Aragora";
  $("ask").hidden = false;
  $("question").focus({ preventScroll: true });
}

function theme(wanted) {
  if (wanted) document.documentElement.dataset.theme = wanted;
}

let searching;
$("search").addEventListener("input", () => {
  clearTimeout(searching);
  searching = setTimeout(loadPast, 200);
});
$("past-more").addEventListener("click", () => loadPast(true));
$("cancel").addEventListener("click", cancel);
$("again").addEventListener("click", askAgain);
$("decided").addEventListener("click", toResult);
$("voice").addEventListener("submit", suggest);
$("vote-buttons").addEventListener("click", vote);
$("open-token").addEventListener("click", askForToken);
$("token-cancel").addEventListener("click", () => $("token-dialog").close());
$("token-form").addEventListener("submit", () => {
  token.set($("token").value.trim(), $("remember").checked);
  $("token").value = "";
  begin();
});
$("toggle-past").addEventListener("click", () => {
  const shown = document.body.classList.toggle("past-open");
  $("toggle-past").setAttribute("aria-expanded", String(shown));
});
$("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  localStorage.setItem("aragora.theme", next);
  theme(next);
});
document.addEventListener("keydown", (event) => {
  const writing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && !$("ask").hidden) {
    $("ask-form").requestSubmit();
  } else if (event.key === "/" && !writing) {
    event.preventDefault();
    document.body.classList.add("past-open");
    $("search").focus();
  } else if (event.key === "Escape") {
    document.body.classList.remove("past-open");
    $("export-menu").open = false;
  }
});
addEventListener("hashchange", go);
addEventListener("online", () => follower?.retry());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) follower?.retry();
});

function begin() {
  notice("");
  form.load();
  loadPast();
  go();
}

translate(document);
theme(localStorage.getItem("aragora.theme"));
begin();
