// The page: addresses, and one debate at a time, between the list of past debates and the form.

import { Actions, path } from "./actions.js";
import { Follower, json, token } from "./api.js";
import { Ask } from "./ask.js";
import { DebateView, STATUS } from "./debate.js";
import { $, el, text } from "./dom.js";
import { Watch, decision, toResult } from "./live.js";
import { notice } from "./notices.js";
import { Past } from "./past.js";
import { switchTheme, theme } from "./theme.js";
import { headline, title } from "./verdict.js";
import { language, others, speak, t, translate } from "./words.js";

const LOOK = 30_000; // milliseconds between looks for debates of other clients
const LINK = { connecting: "connecting", live: "live", lost: "reconnecting", idle: "idle" };

translate(document);

let follower = null;
let view = null;
let watch = null;

const past = new Past(failed);
const form = new Ask(opened, failed);
const actions = new Actions({
  past, failed, opened,
  left: () => (location.hash = "#/"),
  forked(record) {
    form.fork(record);
    location.hash = "#/";
  },
});

function opened(id) {
  location.hash = `#/d/${id}`;
  past.refresh();
}

function linkState(state) {
  $("link-state").dataset.state = state;
  $("link-state").lastElementChild.textContent = t(LINK[state]);
  if (state === "lost") $("lost").hidden = false;
  if (state === "live" || state === "idle") $("lost").hidden = true;
}

function failed(error) {
  if (error.status === 401) askForToken(token.get() ? t("The token is not known here.") : "");
  else notice(error.message);
}

function askForToken(problem = "") {
  $("token-problem").textContent = problem;
  if (!$("token-dialog").open) $("token-dialog").showModal();
  $("token").focus();
}

// One debate ---------------------------------------------------------------------------------------------------

async function open(id) {
  $("ask").hidden = true;
  try {
    const record = await json("GET", path(id));
    // Whoever goes away and comes back at once has asked twice; one of both shows the debate.
    if (route() !== id || view) return;
    view = new DebateView(record);
    $("debate").hidden = false;
    shown(record);
    if (record.in_progress) watch = new Watch(view, document.title);
    follow(record.id, record.in_progress);
    $("debate-title").focus({ preventScroll: true });
  } catch (error) {
    if (error.status === 404) notice(t("There is no such debate; perhaps it was deleted."), { lasting: true });
    else failed(error);
  }
}

// What depends on the debate's own record: it is read when the debate is opened, and when it ends.
function shown(record) {
  view.show(record);
  actions.show(record);
  $("follow").hidden = record.in_progress || record.owner === null;
  if (!watch) document.title = `${text(record.title)} · Aragora`;
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
    pending,
    refused(code, words) {
      if (code === 4001) askForToken();
      else if (code === 4003) notice(t("This page may not connect: its address is not one the server allows."), { lasting: true });
      else if (code === 4004) notice(t("This debate was deleted."), { lasting: true });
      else notice(words);
    },
  });
}

// What was written and has not arrived yet.
function pending(messages) {
  $("pending").replaceChildren(...messages.map((message) => el("li", { dir: "auto" }, t("Waits to be sent: "), text(message.text || message.choice))));
}

function told(event) {
  if (event.type === "consensus") watch?.decided(decision(title(event.data, view.mode), headline(event.data, view.mode)), "✓");
  if (event.type !== "debate_end") return;
  const status = text(event.data.status);
  watch?.decided(t("The debate has ended: {status}", { status: t(STATUS[status] || status) }), status === "completed" ? "✓" : "✗");
}

async function finished(id) {
  past.refresh();
  try {
    const record = await json("GET", path(id));
    if (view && view.id === id) shown(record);
  } catch (error) {
    failed(error);
  }
}

function suggest(event) {
  event.preventDefault();
  const words = $("suggestion").value.trim();
  if (!words || !view) return;
  follower.tell({ type: "user_suggestion", debate_id: view.id, text: words });
  $("suggestion").value = "";
}

function vote(event) {
  const choice = event.target.dataset.choice;
  if (!choice || !view) return;
  follower.tell({ type: "user_vote", debate_id: view.id, choice });
  for (const button of $("vote-buttons").children) {
    button.disabled = true;
    button.setAttribute("aria-pressed", String(button === event.target));
  }
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
  pending([]);
  overlay(false);
  $("debate").hidden = true;
  const id = route();
  past.show(id);
  if (id) {
    open(id);
    return;
  }
  document.title = "Aragora";
  $("ask").hidden = false;
  $("question").focus({ preventScroll: true });
}

function overlay(wanted) {
  document.body.classList.toggle("past-open", wanted);
  $("toggle-past").setAttribute("aria-expanded", String(wanted));
}

function keys(event) {
  const writing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && !$("ask").hidden) {
    $("ask-form").requestSubmit();
  } else if (event.key === "/" && !writing) {
    event.preventDefault();
    overlay(true);
    $("search").focus();
  } else if (event.key === "Escape") {
    overlay(false);
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.firstElementChild.focus();
    }
  }
}

$("decided").addEventListener("click", toResult);
$("voice").addEventListener("submit", suggest);
$("vote-buttons").addEventListener("click", vote);
$("open-token").addEventListener("click", () => askForToken());
$("token-cancel").addEventListener("click", () => $("token-dialog").close());
$("token-form").addEventListener("submit", () => {
  token.set($("token").value.trim(), $("remember").checked);
  $("token").value = "";
  begin();
});
$("toggle-past").addEventListener("click", () => overlay(!document.body.classList.contains("past-open")));
$("past-list").addEventListener("click", () => overlay(false));
$("theme").addEventListener("click", switchTheme);
$("languages").replaceChildren(...others.map(([code, words]) => el("button", { type: "button", class: "quiet", lang: code, onclick: () => speak(code) }, words)));
document.addEventListener("keydown", keys);
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
addEventListener("hashchange", go);
addEventListener("online", () => follower?.retry());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  follower?.retry();
  past.refresh();
});
setInterval(() => past.refresh(), LOOK);

function begin() {
  notice("");
  form.load();
  past.load();
  go();
}

theme();
document.documentElement.dataset.language = language;
begin();
json("GET", "/health").then((health) => ($("version").textContent = health.version)).catch(() => {}); // the page does without
