// The API's description, read from the document that the server makes of its own models.

import { $, el, text } from "./dom.js";

const HTTP = ["get", "post", "patch", "delete"];

function named(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return schema.anyOf.map(named).join(" | ");
  if (schema.type === "array") return `${named(schema.items)}[]`;
  const bounds = ["minimum", "maximum", "maxLength", "default"].filter((name) => schema[name] !== undefined);
  return `${schema.type || "any"}${bounds.length ? ` (${bounds.map((name) => `${name} ${schema[name]}`).join(", ")})` : ""}`;
}

function table(rows) {
  return el("table", {}, el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))))));
}

function operation(method, path, item, found) {
  const parameters = [...(item.parameters || []), ...(found.parameters || [])];
  const body = found.requestBody?.content["application/json"].schema;
  return el(
    "section",
    { class: "operation card", id: text(found.operationId) },
    el("h2", {}, el("span", { class: `method ${method}` }, method.toUpperCase()), el("code", {}, path)),
    el("p", {}, text(found.summary)),
    parameters.length ? table(parameters.map((one) => [el("code", {}, one.name), one.in, named(one.schema), text(one.description)])) : null,
    body ? el("p", { class: "hint" }, `Body: ${named(body)}`) : null,
    table(Object.entries(found.responses).map(([status, answer]) => [el("code", {}, status), text(answer.description), Object.values(answer.content || {}).map((one) => named(one.schema)).join(", ")])),
  );
}

function schema([name, definition]) {
  return el("details", { class: "operation card" }, el("summary", {}, name), el("pre", {}, JSON.stringify(definition, null, 2)));
}

async function show() {
  const answer = await fetch("/api/openapi.json");
  const document_ = await answer.json();
  $("about").textContent = `${document_.info.description} Version ${document_.info.version}.`;
  for (const [path, item] of Object.entries(document_.paths)) {
    for (const method of HTTP) if (item[method]) $("api").append(operation(method, path, item, item[method]));
  }
  $("api").append(el("h2", {}, "Models"), ...Object.entries(document_.components.schemas).map(schema));
}

show().catch((error) => ($("about").textContent = `The description cannot be read: ${error.message}`));
