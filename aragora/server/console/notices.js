// Notices above the page: each can be closed, and ends by itself unless it is about something that lasts.

import { $, el } from "./dom.js";
import { t } from "./words.js";

const SECONDS = 12;

let timer = 0;

// Shows `words`, in place of what was there; `action` is [words, function] of a button. Nothing closes it.
export function notice(words, { lasting = false, seconds = SECONDS, action = null } = {}) {
  clearTimeout(timer);
  $("notice").hidden = !words;
  if (!words) return;
  const close = el("button", { type: "button", class: "quiet icon", "aria-label": t("Close"), onclick: () => notice("") }, el("span", { "aria-hidden": true }, "✕"));
  const act = action ? el("button", { type: "button", class: "button small plain", onclick: action[1] }, action[0]) : null;
  $("notice").replaceChildren(el("span", { class: "grow", dir: "auto" }, words), ...(act ? [act] : []), close);
  if (!lasting) timer = setTimeout(() => notice(""), 1000 * seconds);
}
