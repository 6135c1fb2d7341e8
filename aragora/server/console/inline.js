// Markdown within a paragraph: text to a tree of plain nodes. Nothing of it is markup until `markdown.js` builds elements.
//
// Emphasis and links follow CommonMark 0.31 (section 6 and its appendix), with one extension: next to Chinese, Japanese
// and Korean characters punctuation does not keep emphasis from beginning or ending. Links lead to http and https only;
// anything else stays the text that it was. Mathematics is left as it was written.

const MOST_DEPTH = 16; // of elements within elements
const LONGEST_LABEL = 200;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", hellip: "…", mdash: "—", ndash: "–", rarr: "→", larr: "←", times: "×", middot: "·" };

const PLAIN = /[^\\`*_~[\]!<&\n$hH]+/y;
const TICKS = /`+/g;
const AUTOLINK = /<(https?:\/\/[^\s<>]*)>/iy;
const BARE = /https?:\/\/(?:[^\s<>`"()]|\([^\s<>`"()]*\))+/iy;
const ENTITY = /&(?:#[xX]([0-9a-fA-F]{1,6})|#(\d{1,7})|([A-Za-z]{2,8}));/y;
const TARGET = /\(\s*(?:<([^<>\n]*)>|([^\s()<]*(?:\([^\s()]*\)[^\s()]*)*))(?:\s+(?:"[^"]{0,400}"|'[^']{0,400}'|\([^()]{0,400}\)))?\s*\)/y;
const LABEL = /\[([^[\]]{0,200})\]/y;
const FORMULA = /\$\$[^$]+\$\$|\$(?!\s)(?:[^$\n]*[^\s$\\])\$(?!\d)/y;
const TRAILING = /[?!.,:;*_~'\]|。，、；：！？」』）】》]+$/u;
const LONGEST_FORMULA = 2000;
const SPACE = /^[\s\u00a0]?$/u;
const CJK = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uffef]$/u;
const PUNCTUATION = /^[\p{P}\p{S}]$/u;
const ESCAPED = /^[!-/:-@[-`{-~]$/;

export const node = (tag, children = [], attributes = {}) => ({ tag, attributes, children });
export const label = (text) => text.trim().replace(/\s+/g, " ").toLowerCase();

function depth(children) {
  return children.reduce((most, child) => Math.max(most, child.depth || 0), 0);
}

// An element around `children`; null where that would nest too deeply.
function around(tag, children, attributes) {
  const found = depth(children) + 1;
  return found > MOST_DEPTH ? null : { ...node(tag, children, attributes), depth: found };
}

function at(expression, text, position) {
  expression.lastIndex = position;
  return expression.exec(text);
}

// The address as the browser reads it, empty unless it is one of the web.
export function address(written) {
  try {
    const found = new URL(written);
    return /^https?:$/.test(found.protocol) && found.hostname ? found.href : "";
  } catch {
    return "";
  }
}

function link(children, href, kind = "") {
  return around("a", children, { href, title: href, rel: "noopener noreferrer nofollow ugc", target: "_blank", class: kind || null });
}

function decoded(match) {
  const [whole, hex, decimal, name] = match;
  if (name) return ENTITIES[name] ?? whole;
  const code = parseInt(hex || decimal, hex ? 16 : 10);
  return code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? "\ufffd" : String.fromCodePoint(code);
}

function unescaped(text) {
  return text.replace(/\\([!-/:-@[-`{-~])/g, "$1").replace(/&(?:#[xX]([0-9a-fA-F]{1,6})|#(\d{1,7})|([A-Za-z]{2,8}));/g, (...match) => decoded(match));
}

class Line {
  constructor(text, references) {
    this.text = text;
    this.references = references;
    this.position = 0;
    this.items = [];
    this.brackets = [];
    this.unclosed = new Set();
    this.steps = {
      "\\": this.backslash, "`": this.code, "*": this.delimiter, _: this.delimiter, "~": this.tildes, "[": this.bracket,
      "]": this.closed, "!": this.exclamation, "<": this.autolink, "&": this.entity, "\n": this.lineEnd, $: this.formula,
      h: this.bare, H: this.bare,
    };
  }

  parse() {
    while (this.position < this.text.length) {
      const plain = at(PLAIN, this.text, this.position);
      if (plain) this.say(plain[0], plain[0].length);
      else if (!this.steps[this.text[this.position]].call(this)) this.say(this.text[this.position], 1);
    }
    emphasize(this.items, 0);
    return settled(this.items);
  }

  // Adds an item for the next `length` characters.
  say(item, length) {
    if (item !== "") this.items.push(item);
    this.position += length;
    return true;
  }

  backslash() {
    const next = this.text[this.position + 1] || "";
    if (next === "(" || next === "[") {
      const end = this.text.slice(this.position, this.position + LONGEST_FORMULA).indexOf(next === "(" ? "\\)" : "\\]", 2);
      if (end > 0) return this.formulaTo(this.position + end + 2);
    }
    if (next === "\n") return this.say(node("br"), 2);
    return ESCAPED.test(next) && this.say(next, 2);
  }

  code() {
    const open = at(/`+/y, this.text, this.position)[0];
    if (!this.unclosed.has(open.length)) {
      TICKS.lastIndex = this.position + open.length;
      for (let close = TICKS.exec(this.text); close; close = TICKS.exec(this.text)) {
        if (close[0].length !== open.length) continue;
        let inner = this.text.slice(this.position + open.length, close.index).replaceAll("\n", " ");
        if (/^ .* $/.test(inner) && inner.trim()) inner = inner.slice(1, -1);
        return this.say(node("code", [inner]), close.index + open.length - this.position);
      }
      this.unclosed.add(open.length);
    }
    return this.say(open, open.length);
  }

  formula() {
    const found = at(FORMULA, this.text, this.position);
    return found !== null && this.formulaTo(this.position + found[0].length);
  }

  formulaTo(end) {
    return this.say(node("span", [this.text.slice(this.position, end)], { class: "math", dir: "ltr" }), end - this.position);
  }

  tildes() {
    const run = at(/~+/y, this.text, this.position)[0];
    return run.length === 2 ? this.delimiter() : this.say(run, run.length);
  }

  delimiter() {
    const mark = this.text[this.position];
    let end = this.position;
    while (this.text[end] === mark) end += 1;
    const before = Array.from(this.text.slice(Math.max(0, this.position - 2), this.position)).at(-1) || "";
    const after = String.fromCodePoint(this.text.codePointAt(end) ?? 32);
    const punctuated = (one) => PUNCTUATION.test(one) && !CJK.test(one);
    const loose = (one) => SPACE.test(one) || PUNCTUATION.test(one) || CJK.test(one);
    const left = !SPACE.test(after) && (!punctuated(after) || loose(before));
    const right = !SPACE.test(before) && (!punctuated(before) || loose(after));
    const word = mark === "_";
    const count = end - this.position;
    return this.say({
      mark, count, whole: count,
      opens: left && (!word || !right || PUNCTUATION.test(before)),
      closes: right && (!word || !left || PUNCTUATION.test(after)),
    }, count);
  }

  bracket(image = false) {
    this.brackets.push({ item: this.items.length, from: this.position + (image ? 2 : 1), image, active: true });
    return this.say(image ? "![" : "[", image ? 2 : 1);
  }

  exclamation() {
    return this.text[this.position + 1] === "[" && this.bracket(true);
  }

  closed() {
    const open = this.brackets.pop();
    if (!open || !open.active) return false;
    const [href, end] = this.target(open);
    if (!href) return false;
    const inner = this.items.slice(open.item + 1);
    emphasize(inner, 0);
    const found = link(settled(inner.length ? inner : [href]), href, open.image ? "image" : "");
    if (!found) return false;
    this.items.length = open.item;
    // A link holds no link.
    if (!open.image) for (const other of this.brackets) if (!other.image) other.active = false;
    return this.say(found, end - this.position);
  }

  // Where the link that ends here leads to, and where its text ends; no address where it is none.
  target(open) {
    const inline = at(TARGET, this.text, this.position + 1);
    if (inline) return [address(unescaped(inline[1] ?? inline[2])), this.position + 1 + inline[0].length];
    const explicit = at(LABEL, this.text, this.position + 1);
    const between = this.position - open.from <= LONGEST_LABEL ? this.text.slice(open.from, this.position) : "";
    const written = explicit?.[1] ? explicit[1] : between;
    return [this.references.get(label(written)) || "", this.position + 1 + (explicit ? explicit[0].length : 0)];
  }

  autolink() {
    const found = at(AUTOLINK, this.text, this.position);
    const href = found && address(found[1]);
    return Boolean(href) && this.say(link([found[1]], href), found[0].length);
  }

  bare() {
    const found = /\w/.test(this.text[this.position - 1] || "") ? null : at(BARE, this.text, this.position);
    if (!found) return false;
    const written = found[0].replace(TRAILING, "");
    const href = address(written);
    return Boolean(href) && this.say(link([written], href), written.length);
  }

  entity() {
    const found = at(ENTITY, this.text, this.position);
    return found !== null && this.say(decoded(found), found[0].length);
  }

  lineEnd() {
    const last = this.items.at(-1);
    if (typeof last === "string") this.items[this.items.length - 1] = last.replace(/ +$/, "");
    return this.say(node("br"), at(/\n */y, this.text, this.position)[0].length);
  }
}

const TAGS = { "*": ["em", "strong"], _: ["em", "strong"], "~": ["del", "del"] };

// Pairs delimiters from left to right and puts what is between them into an element, in place.
function emphasize(items, from) {
  const lowest = new Map();
  for (let closer = from; closer < items.length; closer += 1) {
    const close = items[closer];
    if (!close.mark || !close.closes || !close.count) continue;
    const key = `${close.mark}${close.opens}${close.whole % 3}`;
    let opener = closer - 1;
    const bottom = lowest.get(key) ?? from;
    while (opener >= bottom && !pairs(items[opener], close)) opener -= 1;
    if (opener < bottom) {
      lowest.set(key, closer);
      continue;
    }
    const open = items[opener];
    const strength = open.count >= 2 && close.count >= 2 ? 2 : 1;
    const made = around(TAGS[close.mark][strength - 1], settled(items.slice(opener + 1, closer)));
    if (!made) {
      lowest.set(key, closer);
      continue;
    }
    open.count -= strength;
    close.count -= strength;
    items.splice(opener + 1, closer - opener - 1, made);
    for (const [name, value] of lowest) lowest.set(name, Math.min(value, opener + 1));
    closer = close.count ? opener + 1 : opener + 2; // the rest of a run may close another one
  }
}

function pairs(open, close) {
  if (open.mark !== close.mark || !open.opens || !open.count) return false;
  if (close.mark === "~") return true;
  const both = (open.closes || close.opens) && (open.whole + close.whole) % 3 === 0;
  return !both || (open.whole % 3 === 0 && close.whole % 3 === 0);
}

// Delimiters that paired with none are text again; neighbouring texts are one.
function settled(items) {
  const found = [];
  for (const item of items) {
    const shown = item.mark ? item.mark.repeat(item.count) : item;
    if (shown === "") continue;
    if (typeof shown === "string" && typeof found.at(-1) === "string") found.push(found.pop() + shown);
    else found.push(shown);
  }
  return found;
}

export function inline(text, references = new Map()) {
  return new Line(text, references).parse();
}
