// Markdown as elements: blocks here, what is within a paragraph in `inline.js`. A text becomes a tree of plain nodes, and
// the tree becomes elements: whatever the text says, only the elements named here are made, and nothing is parsed as HTML.
//
// CommonMark 0.31 as models write it, with GFM's tables, struck text, task lists and bare addresses. HTML stays text.

import { el } from "./dom.js";
import { address, inline, label, node } from "./inline.js";
import { t } from "./words.js";

const MOST_DEPTH = 10; // of lists and quotes within each other
const MOST_COLUMNS = 50;
const LONGEST_FORMULA = 100; // lines

const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})\s*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))??(?:\s+#+)?\s*$/;
const BREAK = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: {1,4}(?=\S)| (?= {4})| *$)/;
const UNDERLINE = /^ {0,3}(?:=+|-+) *$/;
const COLUMNS = /^ {0,3}\|?(?: *:?-+:? *\|)* *:?-+:? *\|? *$/;
const DEFINITION = /^ {0,3}\[([^[\]]{1,200})\]: *<?([^\s<>]+)>?(?: +(?:"[^"]*"|'[^']*'|\([^()]*\)))? *$/;
const FORMULA = /^ {0,3}(\$\$|\\\[)/;
const INDENTED = /^ {4}/;

const blank = (line) => line.trim() === "";
const indent = (line) => /^ */.exec(line)[0].length;

// Each takes lines from `at` and answers with a node and where it ends; null where it does not begin here.
const RULES = [fenced, formula, heading, thematic, quote, list, table, indented, paragraph];

// The tree of a text: an array of nodes and texts. Headings begin at `level`.
export function parse(text, level = 4) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n").map((line) => line.replace(/^[ \t]+/, (space) => space.replaceAll("\t", "    ")));
  const references = new Map();
  const tree = blocks(lines, 0, references);
  return finished(tree, { references, level, least: least(tree) });
}

function blocks(lines, depth, references) {
  const found = [];
  for (let at = 0; at < lines.length; ) {
    if (blank(lines[at])) {
      at += 1;
      continue;
    }
    for (const rule of RULES) {
      const made = rule(lines, at, depth, references);
      if (!made) continue;
      if (made[0]) found.push(made[0]);
      at = made[1];
      break;
    }
  }
  return found;
}

function fenced(lines, at) {
  const open = FENCE.exec(lines[at]);
  if (!open) return null;
  const closing = new RegExp(`^ {0,3}${open[2][0]}{${open[2].length},} *$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  const margin = new RegExp(`^ {0,${open[1].length}}`);
  return [code(lines.slice(at + 1, end).map((line) => line.replace(margin, "")), open[3]), end + 1];
}

function indented(lines, at) {
  if (!INDENTED.test(lines[at])) return null;
  let end = at + 1;
  while (end < lines.length && (INDENTED.test(lines[end]) || blank(lines[end]))) end += 1;
  const kept = lines.slice(at, end).map((line) => line.slice(4));
  while (blank(kept.at(-1))) kept.pop();
  return [code(kept, ""), end];
}

const code = (lines, language) => ({ tag: "pre", attributes: {}, children: [lines.join("\n")], language: language.slice(0, 30) });

function formula(lines, at) {
  const open = FORMULA.exec(lines[at]);
  if (!open) return null;
  const close = open[1] === "$$" ? "$$" : "\\]";
  const first = lines[at].indexOf(close, lines[at].indexOf(open[1]) + 2);
  let end = at;
  if (first < 0) {
    do end += 1; while (end < lines.length && end < at + LONGEST_FORMULA && !lines[end].includes(close));
    if (!lines[end]?.includes(close)) return null;
  }
  const last = lines[end];
  if (!blank(last.slice((end === at ? first : last.indexOf(close)) + 2))) return null;
  return [node("p", [lines.slice(at, end + 1).join("\n")], { class: "math", dir: "ltr" }), end + 1];
}

function heading(lines, at) {
  const found = HEADING.exec(lines[at]);
  return found && [{ ...node("h", []), depth: found[1].length, source: found[2] || "" }, at + 1];
}

function thematic(lines, at) {
  return BREAK.test(lines[at]) ? [node("hr"), at + 1] : null;
}

function quote(lines, at, depth, references) {
  if (!QUOTE.test(lines[at]) || depth >= MOST_DEPTH) return null;
  const inner = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    if (QUOTE.test(lines[end])) inner.push(lines[end].replace(QUOTE, ""));
    else if (blank(lines[end]) || blank(inner.at(-1)) || begins(lines, end)) break;
    else inner.push(lines[end]); // a paragraph goes on without its mark
  }
  return [node("blockquote", blocks(inner, depth + 1, references)), end];
}

const kind = (marker) => marker.at(-1);

function list(lines, at, depth, references) {
  const first = ITEM.exec(lines[at]);
  if (!first || first[1].length > 3 || depth >= MOST_DEPTH) return null;
  const items = [];
  let loose = false;
  let end = at;
  while (end < lines.length) {
    const open = ITEM.exec(lines[end]);
    if (!open || kind(open[2]) !== kind(first[2]) || open[1].length > first[1].length + 3 || BREAK.test(lines[end])) break;
    const [inner, next] = item(lines, end, open);
    const gap = blank(inner.at(-1));
    while (inner.length > 1 && blank(inner.at(-1))) inner.pop();
    items.push(inner);
    end = next;
    const more = end < lines.length && ITEM.exec(lines[end]);
    loose ||= inner.some(blank) && separated(inner) || (gap && more && kind(more[2]) === kind(first[2]));
  }
  const ordered = /\d/.test(first[2]);
  const start = ordered ? Number.parseInt(first[2], 10) : 1;
  const children = items.map((inner) => node("li", entry(inner, depth, references, loose)));
  return [node(ordered ? "ol" : "ul", children, start === 1 ? {} : { start }), end];
}

// The lines of one item without their margin, and where it ends.
function item(lines, at, open) {
  const width = blank(lines[at].slice(open[0].length)) ? open[1].length + open[2].length + 1 : open[0].length;
  const inner = [lines[at].slice(open[0].length)];
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (blank(line)) inner.push("");
    else if (indent(line) >= width) inner.push(line.slice(width));
    // Models indent what belongs to "1." by two columns as well.
    else if (indent(line) >= open[1].length + 2 && ITEM.test(line)) inner.push(line.slice(indent(line)));
    else if (blank(inner.at(-1)) || ITEM.test(line) || begins(lines, end)) break;
    else inner.push(line);
  }
  return [inner, end];
}

// Whether blank lines stand between the blocks of an item itself, not only within its code or its lists.
function separated(inner) {
  const first = inner.findIndex(blank);
  return inner.slice(first).some((line) => !blank(line) && !ITEM.test(line) && !FENCE.test(line)) && !inner.slice(0, first).some((line) => FENCE.test(line) || ITEM.test(line));
}

function entry(inner, depth, references, loose) {
  const task = /^\[([ xX])\] +(?=\S)/.exec(inner[0]);
  const children = blocks(task ? [inner[0].slice(task[0].length), ...inner.slice(1)] : inner, depth + 1, references);
  const shown = loose ? children : children.map((child) => (child.tag === "p" && child.source !== undefined ? { ...child, tag: "" } : child));
  return task ? [node("span", [task[1] === " " ? "☐ " : "☑ "]), ...shown] : shown;
}

function cells(line) {
  return line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function isTable(lines, at) {
  const next = lines[at + 1];
  if (next === undefined || !lines[at].includes("|") || !next.includes("-") || !COLUMNS.test(next)) return false;
  const columns = cells(next).length;
  return columns <= MOST_COLUMNS && columns === cells(lines[at]).length && (columns > 1 || next.includes("|"));
}

function table(lines, at) {
  if (!isTable(lines, at)) return null;
  const sides = cells(lines[at + 1]).map((cell) => (/^:.*:$/.test(cell) ? "center" : cell.endsWith(":") ? "end" : null));
  const row = (line, tag) => node("tr", cells(line).slice(0, sides.length).map((source, index) => ({ ...node(tag, [], { class: sides[index], dir: "auto" }), source })));
  let end = at + 2;
  while (end < lines.length && !blank(lines[end]) && (lines[end].includes("|") || !begins(lines, end))) end += 1;
  const rows = lines.slice(at + 2, end).map((line) => row(line, "td"));
  return [node("table", [node("thead", [row(lines[at], "th")]), ...(rows.length ? [node("tbody", rows)] : [])]), end];
}

// Whether a block begins here that ends a paragraph.
function begins(lines, at) {
  const line = lines[at];
  const marker = ITEM.exec(line);
  if (marker && marker[1].length <= 3 && !blank(line.slice(marker[0].length)) && (!/\d/.test(marker[2]) || Number.parseInt(marker[2], 10) === 1)) return true;
  return FENCE.test(line) || HEADING.test(line) || BREAK.test(line) || QUOTE.test(line) || isTable(lines, at) || formula(lines, at) !== null;
}

function paragraph(lines, at, depth, references) {
  let end = at;
  while (end < lines.length) {
    const defined = DEFINITION.exec(lines[end]);
    if (!defined) break;
    const name = label(defined[1]);
    if (!references.has(name)) references.set(name, address(defined[2]));
    end += 1;
  }
  if (end > at) return [null, end];
  const said = [lines[at].trimStart()];
  for (end = at + 1; end < lines.length && !blank(lines[end]); end += 1) {
    if (UNDERLINE.test(lines[end])) return [{ ...node("h"), depth: lines[end].includes("=") ? 1 : 2, source: said.join("\n") }, end + 1];
    if (begins(lines, end)) break;
    said.push(lines[end].trimStart());
  }
  return [{ ...node("p"), source: said.join("\n").trimEnd() }, end];
}

// Headings take the levels that the page has left for them, whichever their author began with.
function least(tree) {
  return tree.reduce((most, one) => (one.tag === "h" ? Math.min(most, one.depth) : one.children ? Math.min(most, least(one.children)) : most), 6);
}

// What stands within paragraphs is read once all references are known.
function finished(tree, context) {
  return tree.flatMap((one) => {
    if (typeof one === "string") return [one];
    const children = one.source === undefined ? finished(one.children, context) : inline(one.source, context.references);
    if (one.tag === "") return children;
    const tag = one.tag === "h" ? `h${Math.min(6, context.level + one.depth - context.least)}` : one.tag;
    return [{ tag, attributes: one.attributes, children, ...(one.language === undefined ? {} : { language: one.language }) }];
  });
}

// The elements of a tree.
export function build(tree) {
  return tree.map((one) => {
    if (typeof one === "string") return one;
    if (one.tag === "pre") return block(one);
    const made = el(one.tag, one.attributes, ...build(one.children));
    if (one.tag !== "table") return made;
    return el("div", { class: "table", tabindex: 0, role: "group", "aria-label": t("Table") }, made);
  });
}

function block(one) {
  const text = one.children.join("");
  const copied = (event) => copy(text, event.currentTarget);
  return el(
    "figure",
    { class: "code", dir: "ltr" },
    el("figcaption", {}, el("span", {}, one.language || t("text")), el("button", { type: "button", class: "quiet", onclick: copied }, t("Copy"))),
    el("pre", { tabindex: 0 }, el("code", {}, text)),
  );
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = t("Copied");
  } catch {
    // Without HTTPS there is no clipboard to write to: the code is selected, to be copied by the keyboard.
    getSelection().selectAllChildren(button.closest("figure").querySelector("code"));
    button.textContent = t("Selected");
  }
  setTimeout(() => (button.textContent = t("Copy")), 2000);
}

const shown = new WeakMap();

// Shows `text` in `element`. What has not changed since the last time stays as it is, and with it a reader's selection.
export function show(element, text, level = 4) {
  const tree = parse(text, level);
  const next = tree.map((one) => JSON.stringify(one));
  const before = shown.get(element) || [];
  let same = 0;
  while (same < next.length && next[same] === before[same]) same += 1;
  while (element.childNodes.length > same) element.lastChild.remove();
  element.append(...build(tree.slice(same)));
  for (const child of [...element.children].slice(same)) if (!child.hasAttribute("dir")) child.setAttribute("dir", "auto");
  shown.set(element, next);
}

// Text without blocks, for places of one line: the elements.
export function phrase(text) {
  return build(inline(text));
}
