// The API's page: the two descriptions that the server makes of its own models, with samples and requests to try.

import { token } from "./api.js";
import { $, el, list, text } from "./dom.js";
import { model, prose, row, table, type } from "./schemas.js";
import { theme } from "./theme.js";
import { Trial, box } from "./trial.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

function folded(words, ...content) {
  return el("details", {}, el("summary", {}, words), ...content);
}

function responses(label, found) {
  const rows = Object.entries(found.responses).map(([status, answer]) => {
    const kinds = Object.entries(answer.content || {}).map(([kind, one]) => (one.schema?.$ref ? type(one.schema) : [kind]));
    return [el("code", {}, status), prose(answer.description), kinds.flatMap((kind, index) => (index ? [", ", ...kind] : kind))];
  });
  return table(`Responses of ${label}`, ["status", "meaning", "body"], rows);
}

function example(found) {
  const good = Object.entries(found.responses).find(([status]) => status.startsWith("2"));
  const shown = good?.[1].content?.["application/json"]?.example;
  return shown ? folded("Example of a response", box(`${text(found.operationId)}: example of a response`, JSON.stringify(shown, null, 2))) : null;
}

function operation(method, path, item, found) {
  const label = text(found.operationId);
  const parameters = [...list(item.parameters), ...list(found.parameters)];
  const trial = new Trial(method, path, found, parameters);
  const body = found.requestBody?.content["application/json"].schema;
  const title = el("h3", {}, el("span", { class: `method ${method}` }, method.toUpperCase()), el("code", {}, path));
  const offer = folded("Try it", trial.element);
  offer.addEventListener("toggle", () => offer.open && suggestDebate(trial));
  return el(
    "section", { class: "operation card", id: label, "aria-label": `${method.toUpperCase()} ${path}` },
    title,
    el("p", {}, ...prose(found.summary), "."),
    found.description ? el("p", { class: "hint" }, ...prose(found.description)) : null,
    parameters.length ? table(`Parameters of ${label}`, ["parameter", "type", "meaning"], parameters.map((one) => row(one.name, one.schema, { needed: one.required, about: one.description }))) : null,
    body ? el("p", {}, "Body: ", ...type(body)) : null,
    responses(label, found),
    trial.samples.element,
    example(found),
    offer,
  );
}

// An address with a debate in it is tried with the newest one.
async function suggestDebate(trial) {
  const field = trial.fields.get("debate_id");
  if (!field || field.value) return;
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  const answer = await fetch("/api/debates?limit=1", { headers }).catch(() => null);
  if (!answer?.ok || field.value) return;
  field.value = text((await answer.json()).debates[0]?.id);
  trial.samples.draw();
}

function group(tag, operations) {
  return [
    el("h2", { id: `about-${tag.name.replaceAll(" ", "-")}` }, tag.name),
    el("p", { class: "hint" }, ...prose(tag.description)),
    ...operations.map(([method, path, item]) => operation(method, path, item, item[method])),
  ];
}

// The operations of a description, [method, path, item], by the first tag of each.
export function grouped(described) {
  const found = new Map(described.tags.map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(described.paths)) {
    for (const method of METHODS) if (item[method]) found.get(item[method].tags[0]).push([method, path, item]);
  }
  return found;
}

function messages(described, action) {
  const { summary, messages: named } = Object.values(described.operations).find((one) => one.action === action);
  const rows = named.map(({ $ref }) => {
    const message = described.components.messages[$ref.split("/").pop()];
    return [el("code", {}, message.name), prose(message.summary), type(message.payload)];
  });
  return [el("p", { class: "hint" }, ...prose(summary)), table(summary, ["type", "meaning", "message"], rows)];
}

function live(described) {
  return [
    el("h2", { id: "about-WebSocket" }, "WebSocket"),
    el("section", { class: "operation card", id: "ws", "aria-label": "WebSocket" },
      el("h3", {}, el("span", { class: "method" }, "WS"), el("code", {}, Object.values(described.channels)[0].address)),
      el("p", {}, ...prose(described.info.description)),
      ...messages(described, "receive"),
      ...messages(described, "send")),
  ];
}

function contents(tags, groups) {
  const entries = tags.flatMap((tag) => [
    el("li", {}, el("a", { href: `#about-${tag.name.replaceAll(" ", "-")}`, class: "contents-group" }, tag.name)),
    ...groups.get(tag.name).map(([method, , item]) => el("li", {}, el("a", { href: `#${item[method].operationId}` }, el("span", { class: `method ${method}` }, method.toUpperCase()), " ", item[method].operationId))),
  ]);
  const more = [["about-WebSocket", "WebSocket"], ["about-models", "Models"]].map(([id, words]) => el("li", {}, el("a", { href: `#${id}`, class: "contents-group" }, words)));
  return el("ul", {}, ...entries, ...more);
}

// A link to a folded model opens it.
function unfold() {
  const target = $(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") target.open = true;
  target?.scrollIntoView();
}

async function show() {
  const [described, events] = await Promise.all(["/api/openapi.json", "/api/asyncapi.json"].map(async (path) => (await fetch(path)).json()));
  const groups = grouped(described);
  const models = { ...events.components.schemas, ...described.components.schemas };
  $("about").replaceChildren(...prose(described.info.description), ` Version ${described.info.version}.`);
  $("token-state").textContent = token.get() ? "Requests that you try are sent with the token that the console keeps." : "Requests that you try are sent without a token: the console keeps none.";
  $("contents").append(contents(described.tags, groups));
  $("api").append(
    ...described.tags.flatMap((tag) => group(tag, groups.get(tag.name))),
    ...live(events),
    el("h2", { id: "about-models" }, "Models"),
    ...Object.entries(models).sort(([one], [other]) => one.localeCompare(other)).map(([label, schema]) => model(label, schema)),
  );
  globalThis.addEventListener?.("hashchange", unfold);
  if (location.hash) unfold();
}

theme();
export const shown = show().catch((error) => ($("about").textContent = `The descriptions cannot be read: ${error.message}`));
