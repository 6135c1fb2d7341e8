// What can be done with a debate: rename, pin, share, follow up, fork, ask again, download, delete, cancel.

import { json, request } from "./api.js";
import { $, el, text } from "./dom.js";
import { notice } from "./notices.js";
import { pins } from "./past.js";
import { t } from "./words.js";

const FORMS = { md: "Markdown", html: "HTML", txt: "Plain text", json: "JSON", csv: "CSV" };
const UNDO = 7; // seconds in which a deletion can be taken back

export const path = (id, rest = "") => `/api/debates/${encodeURIComponent(id)}${rest}`;

export class Actions {
  // `past` is the list, `opened` is told the id of a new debate, `left` that this one is gone, `forked` its record.
  constructor({ past, opened, left, forked, failed }) {
    Object.assign(this, { past, opened, left, forked, failed });
    this.record = null;
    this.deleting = new Map();
    $("cancel").addEventListener("click", () => this.during($("cancel"), () => request("POST", path(this.record.id, "/cancel")), 409));
    $("again").addEventListener("click", () => this.descend($("again"), "/ask-again", {}));
    $("follow").addEventListener("submit", (event) => this.follow(event));
    $("rename-form").addEventListener("submit", () => this.rename());
    $("rename-cancel").addEventListener("click", () => $("rename-dialog").close());
    $("share-cancel").addEventListener("click", () => $("share-dialog").close());
    $("share-copy").addEventListener("click", () => this.copy());
    $("share-stop").addEventListener("click", () => this.unshare());
    // What is being deleted when the page is left is deleted.
    addEventListener("pagehide", () => [...this.deleting.keys()].forEach((id) => this.erase(id, true)));
  }

  show(record) {
    this.record = record;
    const item = (words, act) => el("li", {}, el("button", { type: "button", onclick: () => {
      $("more-menu").open = false;
      $("export-menu").open = false;
      act();
    } }, words));
    $("export-list").replaceChildren(...Object.entries(FORMS).map(([form, words]) => item(t(words), () => this.download(form))), item(t("Print or PDF"), () => print()));
    $("more-list").replaceChildren(
      item(t("Rename"), () => this.askName()),
      item(pins.has(record.id) ? t("Unpin") : t("Pin"), () => this.pin()),
      item(t("Share"), () => this.share()),
      item(t("Fork"), () => this.forked(this.record)),
      item(t("Delete"), () => this.remove()),
    );
  }

  // Runs `act` while its button waits; an answer of the status `expected` is none that matters.
  async during(button, act, expected = 0) {
    button.disabled = true;
    try {
      return await act();
    } catch (error) {
      if (error.status !== expected) this.failed(error);
      return null;
    } finally {
      button.disabled = false;
    }
  }

  async descend(button, how, body) {
    const made = await this.during(button, () => json("POST", path(this.record.id, how), body));
    if (made) this.opened(made.debate_id);
    return made;
  }

  async follow(event) {
    event.preventDefault();
    const question = $("further").value.trim();
    if (question && (await this.descend($("follow-button"), "/follow-up", { question }))) $("further").value = "";
  }

  async download(form) {
    try {
      const answer = await request("GET", path(this.record.id, `/export/${form}`));
      const link = el("a", { href: URL.createObjectURL(await answer.blob()), download: `${text(this.record.slug) || this.record.id}.${form}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    } catch (error) {
      this.failed(error);
    }
  }

  askName() {
    $("rename").value = text(this.record.title) || text(this.record.task).slice(0, 200);
    $("rename-dialog").showModal();
    $("rename").select();
  }

  async rename() {
    const title = $("rename").value.trim();
    if (!title) return;
    try {
      this.record = await json("PATCH", path(this.record.id), { title });
      $("debate-title").textContent = title;
      document.title = `${title} · Aragora`;
      this.past.load();
    } catch (error) {
      this.failed(error);
    }
  }

  pin() {
    pins.set(this.record.id, !pins.has(this.record.id));
    this.show(this.record);
    this.past.load();
  }

  async share() {
    try {
      const { share } = await json("POST", path(this.record.id, "/share"));
      $("share-link").value = new URL(share, location.href).href;
      $("share-dialog").showModal();
      $("share-link").select();
    } catch (error) {
      this.failed(error);
    }
  }

  async copy() {
    $("share-link").select();
    try {
      await navigator.clipboard.writeText($("share-link").value);
      $("share-copy").textContent = t("Copied");
    } catch {
      $("share-copy").textContent = t("Selected");
    }
    setTimeout(() => ($("share-copy").textContent = t("Copy")), 2000);
  }

  async unshare() {
    $("share-dialog").close();
    await this.during($("share-stop"), () => request("DELETE", path(this.record.id, "/share")));
    notice(t("The link leads nowhere any more."));
  }

  // Takes it off the list at once, and deletes it when nobody has taken that back.
  remove() {
    const id = this.record.id;
    this.past.hide(id, true);
    this.left();
    this.deleting.set(id, setTimeout(() => this.erase(id), 1000 * UNDO));
    const undo = () => {
      clearTimeout(this.deleting.get(id));
      this.deleting.delete(id);
      this.past.hide(id, false);
      this.opened(id);
      notice("");
    };
    notice(t("The debate is deleted."), { seconds: UNDO - 0.5, action: [t("Undo"), undo] });
  }

  async erase(id, leaving = false) {
    if (!this.deleting.delete(id)) return;
    pins.set(id, false);
    try {
      await request("DELETE", path(id), undefined, { keepalive: leaving });
    } catch (error) {
      this.past.hide(id, false);
      this.failed(error);
    }
  }
}
