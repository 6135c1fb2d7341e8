// Markdown of agents: what models write reads as it was meant, and nothing of it becomes anything else than plain nodes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { inline } from "../../aragora/server/console/inline.js";
import { parse } from "../../aragora/server/console/markdown.js";

const TAGS = new Set("a blockquote br code del em h3 h4 h5 h6 hr li ol p pre span strong table tbody td th thead tr ul".split(" "));
const ATTRIBUTES = new Set(["class", "dir", "href", "rel", "start", "target", "title"]);

// A tree as short text: (tag child child).
function short(tree) {
  return tree.map((one) => (typeof one === "string" ? one : `(${one.tag}${one.attributes.start ? `:${one.attributes.start}` : ""} ${short(one.children)})`)).join("");
}

function all(tree) {
  return tree.flatMap((one) => (typeof one === "string" ? [] : [one, ...all(one.children)]));
}

function words(tree) {
  return tree.map((one) => (typeof one === "string" ? one : one.tag === "br" ? "\n" : words(one.children))).join("");
}

const links = (text) => all(parse(text)).filter((one) => one.tag === "a").map((one) => one.attributes.href);

for (const [source, expected] of [
  ["a **b** *c* ***d*** _e_ __f__ ~~g~~", "(p a (strong b) (em c) (em (strong d)) (em e) (strong f) (del g))"],
  ["snake_case_name and 2 * 3 * 4", "(p snake_case_name and 2 * 3 * 4)"],
  ["**open and *never closed", "(p **open and *never closed)"],
  ["foo***bar***baz", "(p foo(em (strong bar))baz)"],
  ["`a *b*` and ``c ` d``", "(p (code a *b*) and (code c ` d))"],
  ["\\*no\\* ~5 &amp; &lt;b&gt; &#65; &nothing;", "(p *no* ~5 & <b> A &nothing;)"],
  ["one\ntwo  \nthree", "(p one(br )two(br )three)"],
  ["# A\n### B\ntext\n## C", "(h4 A)(h6 B)(p text)(h5 C)"],
  ["Title\n===\nSub\n---", "(h4 Title)(h5 Sub)"],
  ["#hashtag", "(p #hashtag)"],
  ["- a\n- b\n  - c\n\n    d\n- e", "(ul (li a)(li b(ul (li (p c)(p d))))(li e))"],
  ["1. a\n  - b\n2. c", "(ol (li a(ul (li b)))(li c))"],
  ["3) a\n4) b", "(ol:3 (li a)(li b))"],
  ["- a\n\n- b", "(ul (li (p a))(li (p b)))"],
  ["text\n- a\n- b\n\nend", "(p text)(ul (li a)(li b))(p end)"],
  ["text in\n2. two", "(p text in(br )2. two)"],
  ["- [ ] a\n- [x] b", "(ul (li (span ☐ )a)(li (span ☑ )b))"],
  ["1. a\n   ```js\n   b\n\n     c\n   ```\n2. d", "(ol (li a(pre b\n\n  c))(li d))"],
  ["> a\nb\n> > c\n\nd", "(blockquote (p a(br )b)(blockquote (p c)))(p d)"],
  ["---\n* * *", "(hr )(hr )"],
  ["```py\nif a < b:\n\treturn **c**", "(pre if a < b:\n    return **c**)"],
  ["~~~~\n```\n~~~\n~~~~\nend", "(pre ```\n~~~)(p end)"],
  ["    a\n\n      b\nc", "(pre a\n\n  b)(p c)"],
  ["see:\n| a | b\\|c |\n|:-:|--:|\n| `x` | y |\n| z |\n\nend", "(p see:)(table (thead (tr (th a)(th b|c)))(tbody (tr (td (code x))(td y))(tr (td z))))(p end)"],
  ["a | b\nno | table", "(p a | b(br )no | table)"],
]) test(`Markdown ${JSON.stringify(source).slice(0, 60)}`, () => assert.equal(short(parse(source)), expected));

test("emphasis ends at Chinese and Japanese punctuation, too", () => {
  assert.equal(short(inline("**重点：**内容和**「引用」**很重要")), "(strong 重点：)内容和(strong 「引用」)很重要");
});

test("mathematics is left as it was written", () => {
  for (const formula of ["$a_1 * b_2 * c$", "\\(x_1 \\le x_2\\)", "$$\\sum_{i=1}^n i$$", "\\[a * b * c\\]"])
    assert.equal(words(parse(`so ${formula} holds`)), `so ${formula} holds`);
  assert.equal(short(parse("$$\na\n- b\n= c\n$$\n\nend")), "(p $$\na\n- b\n= c\n$$)(p end)");
  assert.equal(short(inline("*$5* and $10 or less")), "(em $5) and $10 or less");
});

test("links lead to the web only", () => {
  assert.deepEqual(links("[a](https://e.example/x 'title') <http://b.example> see https://c.example/d_(e)). [r][R]\n\n[r]: http://r.example"), [
    "https://e.example/x", "http://b.example/", "https://c.example/d_(e)", "http://r.example/",
  ]);
  for (const other of ["javascript:alert(1)", "JaVaScRiPt:x", "java\tscript:x", "&#106;avascript:x", "data:text/html,x", "vbscript:x", "//e.example", "/etc/passwd", "mailto:a@b", "file:///x", "https:", "http://"])
    assert.deepEqual(links(`[x](${other}) [x](<${other}>) ![x](${other}) <${other}> [r]\n\n[r]: ${other}`), []);
});

test("an image is a link that loads nothing", () => {
  const [image] = all(parse("![a chart](https://e.example/x.png)"));
  assert.equal(all(parse("![a chart](https://e.example/x.png)")).some((one) => one.tag === "img"), false);
  assert.equal(image.tag, "p");
  assert.deepEqual(links("![a chart](https://e.example/x.png)"), ["https://e.example/x.png"]);
});

test("a link holds no link", () => {
  const tree = parse("[a [b](https://b.example) c](https://a.example) [![i](https://i.example)](https://l.example)");
  for (const link of all(tree).filter((one) => one.tag === "a")) assert.deepEqual(all(link.children).filter((one) => one.tag === "a").length <= 1, true);
});

test("HTML is text", () => {
  const written = "<script>alert(1)</script> <img src=x onerror=alert(1)> <b>c</b> <!-- d -->";
  assert.equal(short(parse(written)), `(p ${written})`);
});

test("what is still being written reads well", () => {
  const whole = "# Title\n\nSome **bold** text and `code`.\n\n```js\nlet a;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |";
  for (let end = 0; end <= whole.length; end += 1) assert.ok(Array.isArray(parse(whole.slice(0, end))));
  assert.equal(short(parse("```js\nlet")), "(pre let)");
});

const PIECES = ["`", "*", "**", "_", "~~", "[", "](http://e.example)", "](javascript:x)", "![", "<", ">", "\n", "\n\n", "    ", "> ", "- ", "1. ", "|", "|-|-|\n", "$", "$$", "\\", "&#60;", "# ", "===\n", "a", "文", "：", "http://e.example"];
const WHOLE = ["```\n", "~~~\n", "[a]: http://e.example\n"];

function written(pieces, seed) {
  let state = seed;
  const random = (bound) => (state = (state * 48271) % 2147483647) % bound;
  return Array.from({ length: 2000 }, () => Array.from({ length: random(30) }, () => pieces[random(pieces.length)]).join(""));
}

test("whatever is written becomes known nodes with known attributes", () => {
  for (const source of written([...PIECES, ...WHOLE], 7))
    for (const one of all(parse(source))) {
      assert.ok(TAGS.has(one.tag), one.tag);
      for (const name of Object.keys(one.attributes)) assert.ok(ATTRIBUTES.has(name), name);
      if (one.tag === "a") assert.match(one.attributes.href, /^https?:/);
    }
});

test("no word is lost", () => {
  const count = (text) => text.split("文").length;
  for (const source of written(PIECES.filter((one) => one !== "|-|-|\n" && one !== "~~" && one !== "`"), 11)) assert.equal(count(words(parse(source))), count(source), JSON.stringify(source));
});

for (const [name, source] of Object.entries({
  stars: "*a ".repeat(4000) + "a* ".repeat(4000), brackets: "[".repeat(9000) + "]".repeat(9000), quotes: ">".repeat(20_000),
  lists: "- ".repeat(10_000), ticks: Array.from({ length: 190 }, (_, at) => "`".repeat(at + 1)).join(" "), links: "[a](".repeat(5000),
  tables: `${"|".repeat(3000)}\n${"|-".repeat(3000)}|\n${"a\n".repeat(3000)}`, formulas: "\\(".repeat(9000), blocks: "\\[\n".repeat(6000),
  nested: Array.from({ length: 150 }, (_, at) => `${"  ".repeat(at)}- a`).join("\n"), addresses: `http://a${")".repeat(18_000)}`,
})) test(`long ${name} are read in time`, () => {
  const begun = process.cpuUsage(); // the time of this process alone: others may be busy
  parse(source);
  assert.ok(process.cpuUsage(begun).user < 4e6);
});
