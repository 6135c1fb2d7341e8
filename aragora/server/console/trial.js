// *Try it*: the request of an operation, filled in and sent with the token that the console keeps.

import { token } from "./api.js";
import { el, list, text } from "./dom.js";
import { LANGUAGES } from "./samples.js";

const LONGEST = 20000; // characters of a response that are shown
const JSON_TYPE = "application/json";

// The address of an operation with these values: {name: value} of its path and its query; what is empty is left out.
export function address(path, parameters, values) {
  const filled = path.replace(/\{(\w+)\}/g, (whole, name) => (values[name] ? encodeURIComponent(values[name]) : whole));
  const query = new URLSearchParams(parameters.filter((one) => one.in === "query" && values[one.name]).map((one) => [one.name, values[one.name]]));
  return filled + (query.size ? `?${query}` : "");
}

function copying(content) {
  return el("button", { type: "button", class: "quiet", onclick: () => navigator.clipboard.writeText(content()) }, "Copy");
}

// A text in a box of its own, which the keyboard can scroll.
export function box(label, content, classes = "") {
  return el("pre", { tabindex: 0, role: "region", "aria-label": label, class: classes || undefined }, content);
}

// The request in one language at a time.
export class Samples {
  constructor(label, request) {
    this.request = request;
    this.chosen = Object.keys(LANGUAGES)[0];
    this.code = box(`${label}: sample`, "");
    this.tabs = Object.keys(LANGUAGES).map((name) => el("button", { type: "button", class: "chip-button", onclick: () => this.choose(name) }, name));
    this.element = el("div", { class: "samples" }, el("div", { class: "row", role: "group", "aria-label": `${label}: language` }, ...this.tabs, copying(() => this.code.textContent)), this.code);
    this.choose(this.chosen);
  }

  choose(name) {
    this.chosen = name;
    for (const tab of this.tabs) tab.setAttribute("aria-pressed", String(tab.textContent === name));
    this.draw();
  }

  draw() {
    this.code.textContent = LANGUAGES[this.chosen](this.request());
  }
}

// The form of one operation.
export class Trial {
  constructor(method, path, found, parameters) {
    this.method = method.toUpperCase();
    this.path = path;
    this.parameters = parameters;
    this.needsToken = found.security === undefined && Boolean(token.get());
    const label = text(found.operationId);
    this.fields = new Map(parameters.map((one) => [one.name, this.field(`${label}-${one.name}`, one)]));
    const example = found.requestBody?.content[JSON_TYPE]?.example;
    this.body = found.requestBody ? el("textarea", { id: `${label}-body`, rows: 8, spellcheck: "false" }) : null;
    if (this.body) this.body.value = JSON.stringify(example ?? {}, null, 2);
    this.result = el("div", { class: "trial-result", "aria-live": "polite" });
    this.samples = new Samples(label, () => this.request());
    this.element = el("form", { class: "trial" }, ...this.rows(label), el("div", { class: "row" }, el("button", { type: "submit", class: `button small${method === "delete" ? " danger" : ""}` }, `Send ${this.method}`)), this.result);
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.element.addEventListener("input", () => this.samples.draw());
  }

  rows(label) {
    const fields = this.parameters.map((one) => el("label", { for: `${label}-${one.name}` }, el("code", {}, one.name), this.fields.get(one.name)));
    return this.body ? [...fields, el("label", { for: `${label}-body` }, "body", this.body)] : fields;
  }

  field(id, { schema, in: place, required }) {
    if (!schema.enum) return el("input", { id, autocomplete: "off", spellcheck: "false", placeholder: text(schema.default), required, "data-place": place });
    const choices = [...(required ? [] : [""]), ...schema.enum];
    return el("select", { id, required, "data-place": place }, ...choices.map((one) => el("option", { value: one }, one)));
  }

  values() {
    return Object.fromEntries([...this.fields].map(([name, field]) => [name, field.value]));
  }

  // What samples show; a body that is no JSON yet is shown as a text.
  request() {
    const url = location.origin + address(this.path, this.parameters, this.values());
    let body = this.body?.value;
    try {
      body = body === undefined ? undefined : JSON.parse(body);
    } catch { /* shown as it is */ }
    return { method: this.method, url, body, token: this.needsToken };
  }

  headers() {
    const found = this.body ? { "Content-Type": JSON_TYPE } : {};
    for (const one of this.parameters) if (one.in === "header" && this.fields.get(one.name).value) found[one.name] = this.fields.get(one.name).value;
    if (token.get()) found.Authorization = `Bearer ${token.get()}`;
    return found;
  }

  async send() {
    const begun = performance.now();
    try {
      const response = await fetch(address(this.path, this.parameters, this.values()), { method: this.method, headers: this.headers(), body: this.body?.value });
      const content = await response.text();
      this.show(`${response.status} ${response.statusText} · ${Math.round(performance.now() - begun)} ms`, readable(content, response.headers.get("Content-Type")), response.ok);
    } catch (error) {
      this.show(`No response: ${error.message}`, "", false);
    }
  }

  show(status, content, good) {
    const cut = content.length > LONGEST ? `${content.slice(0, LONGEST)}\n… (${content.length} characters)` : content;
    this.result.replaceChildren(el("p", { "data-state": good ? "good" : "bad" }, status), ...list(cut ? [box("Response", cut)] : []));
  }
}

export function readable(content, kind) {
  if (!text(kind).startsWith(JSON_TYPE)) return content;
  try {
    return JSON.stringify(JSON.parse(content), null, 2);
  } catch {
    return content;
  }
}
