// Past debates: found by their words, pinned, and kept as they are while one of them is open.

import { json } from "./api.js";
import { STATUS } from "./debate.js";
import { $, ago, el, list, text } from "./dom.js";
import { t } from "./words.js";

const PAGE = 20;
const PINS = "aragora.pins";
const MOST_PINS = 12;
const AROUND = 40; // characters of an answer before the word that was found
const SNIPPET = 160;

export const wanted = (search) => search.trim().toLowerCase().split(/\s+/).filter(Boolean);

// A text as parts, those that were searched for marked: [{text, found}].
export function marked(words, found) {
  if (!found.length) return [{ text: words, found: false }];
  const signs = found.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return words.split(new RegExp(`(${signs.join("|")})`, "gi")).map((part, place) => ({ text: part, found: place % 2 === 1 })).filter((part) => part.text);
}

// The piece of an answer that holds the first word found; empty where the title says it already.
export function snippet(answer, title, found) {
  const left = found.filter((word) => !title.toLowerCase().includes(word));
  const places = left.map((word) => answer.toLowerCase().indexOf(word)).filter((place) => place >= 0);
  if (!places.length) return "";
  const from = Math.max(0, Math.min(...places) - AROUND);
  return `${from ? "…" : ""}${answer.slice(from, from + SNIPPET).replace(/\s+/g, " ")}…`;
}

const shown = (words, found) => marked(words, found).map((part) => (part.found ? el("mark", {}, part.text) : part.text));

export const pins = {
  all: () => list(JSON.parse(localStorage.getItem(PINS) || "[]")).map(String),
  has: (id) => pins.all().includes(id),
  set(id, pinned) {
    const others = pins.all().filter((one) => one !== id);
    localStorage.setItem(PINS, JSON.stringify(pinned ? [id, ...others].slice(0, MOST_PINS) : others));
  },
};

export class Past {
  constructor(failed) {
    this.failed = failed;
    this.cursor = null;
    this.here = null;
    this.gone = new Set();
    $("search").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(), 200);
    });
    $("past-more").addEventListener("click", () => this.load(true));
  }

  async load(more = false) {
    const query = new URLSearchParams({ limit: PAGE });
    const search = $("search").value.trim();
    if (search) query.set("q", search);
    if (more && this.cursor) query.set("cursor", this.cursor);
    try {
      const [page, pinned] = await Promise.all([json("GET", `/api/debates?${query}`), more || search ? [] : this.pinned()]);
      if (search !== $("search").value.trim()) return;
      const first = new Set(pinned.map((debate) => debate.id));
      const found = wanted(search);
      const items = [...pinned, ...list(page.debates).filter((debate) => !first.has(debate.id))].filter((debate) => !this.gone.has(debate.id)).map((debate) => this.item(debate, found));
      if (more) $("past-list").append(...items);
      else $("past-list").replaceChildren(...items);
      this.cursor = page.next_cursor;
      $("past-more").hidden = !this.cursor;
      $("past-empty").hidden = $("past-list").children.length > 0;
      $("past-empty").textContent = search ? t("No debate has these words.") : t("Nothing here yet.");
    } catch (error) {
      this.failed(error);
    }
  }

  // Debates that have begun or changed since, other clients' too, take their places; the rest of the list stays.
  async refresh() {
    if (document.hidden || $("search").value.trim()) return;
    const page = await json("GET", `/api/debates?limit=${PAGE}`).catch(() => null); // the next look is soon
    if (!page || $("search").value.trim()) return;
    const items = [...$("past-list").children];
    const known = new Map(items.map((item) => [item.dataset.id, item]));
    let next = items.find((item) => !pins.has(item.dataset.id)) || null;
    for (const debate of list(page.debates)) {
      const item = known.get(text(debate.id));
      if (item) this.renew(item, debate);
      else if (!this.gone.has(debate.id)) $("past-list").insertBefore(this.item(debate, []), next);
      if (item && !pins.has(item.dataset.id)) next = item.nextElementSibling;
    }
    $("past-empty").hidden = $("past-list").children.length > 0;
  }

  // What has changed of a debate in the list; its link stays, and the focus with it.
  renew(item, debate) {
    const now = this.item(debate, []).firstElementChild;
    const link = item.firstElementChild;
    if (link.textContent !== now.textContent) link.replaceChildren(...now.childNodes);
  }

  // Those that were pinned in this browser, as far as they are still there.
  async pinned() {
    const found = await Promise.all(pins.all().map((id) => json("GET", `/api/debates/${encodeURIComponent(id)}`).catch(() => null)));
    return found.filter(Boolean);
  }

  item(debate, found) {
    const id = text(debate.id);
    const name = text(debate.title) || text(debate.task);
    const piece = snippet(text(debate.final_answer), name, found);
    const link = el(
      "a",
      { href: `#/d/${encodeURIComponent(id)}` },
      el("span", { class: "past-title", dir: "auto" }, pins.has(id) ? el("span", { class: "pin", title: t("pinned") }, "📌 ") : null, ...shown(name, found)),
      piece ? el("span", { class: "hint past-piece", dir: "auto" }, ...shown(piece, found)) : null,
      el("span", { class: "hint" }, el("i", { class: "dot-status", "data-status": text(debate.status) }), `${t(STATUS[debate.status] || text(debate.status))} · ${ago(debate.created_at)}`),
    );
    const item = el("li", { "data-id": id }, link);
    this.point(item);
    return item;
  }

  // Says which debate is open; the list itself stays.
  show(id) {
    this.here = id;
    for (const item of $("past-list").children) this.point(item);
  }

  point(item) {
    const here = item.dataset.id === this.here;
    item.classList.toggle("here", here);
    if (here) item.firstElementChild.setAttribute("aria-current", "page");
    else item.firstElementChild.removeAttribute("aria-current");
  }

  hide(id, hidden) {
    if (hidden) this.gone.add(id);
    else this.gone.delete(id);
    for (const item of $("past-list").children) if (item.dataset.id === id) item.hidden = hidden;
  }
}
