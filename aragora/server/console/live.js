// A debate that goes on while somebody watches: the page follows its end unless the reader is elsewhere, and says when it
// is decided, wherever the reader is.

import { $ } from "./dom.js";
import { t } from "./words.js";

const NEAR = 90; // px from the end of the page within which a reader is at its end
const SECOND = 1000;

export class Watch {
  constructor(view, name) {
    this.view = view;
    this.name = name;
    this.follows = atEnd();
    this.top = scrollY;
    this.clock = setInterval(() => view.tick(), SECOND);
    this.scrolled = () => {
      if (atEnd()) this.follows = true;
      else if (scrollY < this.top - 2) this.follows = false;
      this.top = scrollY;
    };
    addEventListener("scroll", this.scrolled, { passive: true });
    this.grown = new ResizeObserver(() => this.follows && scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" }));
    this.grown.observe($("rounds-view"));
    this.seen = new IntersectionObserver(([entry]) => {
      $("decided").hidden = entry.isIntersecting || !this.said;
    });
    this.said = "";
    document.title = `… ${name}`;
  }

  // There is a verdict, or there will be none: `words` say so in short.
  decided(words, mark) {
    if (this.said) return;
    this.said = words;
    document.title = `${mark} ${this.name}`;
    $("announce").textContent = words;
    $("decided").textContent = `${words} ↑`;
    this.seen.observe($("result"));
  }

  stop() {
    clearInterval(this.clock);
    removeEventListener("scroll", this.scrolled);
    this.grown.disconnect();
    this.seen.disconnect();
    $("decided").hidden = true;
    $("announce").textContent = "";
  }
}

function atEnd() {
  return innerHeight + scrollY >= document.documentElement.scrollHeight - NEAR;
}

export function toResult() {
  $("result").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  $("result").focus({ preventScroll: true });
}

export const decision = (title, whose) => t("Decided: {what}", { what: whose || title });
