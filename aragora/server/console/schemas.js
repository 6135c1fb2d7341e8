// Types and members of JSON schemas, as a reader wants them.

import { el, text } from "./dom.js";

const BOUNDS = { minimum: "≥", maximum: "≤", exclusiveMinimum: ">", minLength: "characters ≥", maxLength: "characters ≤", minItems: "items ≥", maxItems: "items ≤" };

// Words in which `code` stands between backticks.
export function prose(words) {
  return text(words).split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part)).filter((part) => part !== "");
}

const name = (reference) => reference.split("/").pop();
const link = (reference) => el("a", { href: `#schema-${name(reference)}` }, name(reference));

function joined(parts, between) {
  return parts.flatMap((part, index) => (index ? [between, ...part] : part));
}

// What a value is, as text and links to the models.
export function type(schema) {
  if (!schema) return [];
  if (schema.$ref) return [link(schema.$ref)];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((one) => JSON.stringify(one)).join(" | ")];
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return joined(choices.map(type), " | ");
  if (schema.allOf) return joined(schema.allOf.map(type), " & ");
  if (schema.type === "array") return [...type(schema.items), "[]"];
  const values = schema.additionalProperties;
  if (schema.type === "object" && values && values !== true) return ["{name: ", ...type(values), "}"];
  return [schema.format || text(schema.type) || "any"];
}

// Its bounds and default, beside the type.
export function bounds(schema) {
  const choice = schema.anyOf?.find((one) => one.type !== "null") || {};
  const found = Object.entries(BOUNDS).map(([key, sign]) => [sign, schema[key] ?? choice[key]]).filter(([, value]) => value !== undefined);
  const given = schema.default === undefined || schema.default === null ? [] : [`default ${JSON.stringify(schema.default)}`];
  return [...found.map(([sign, value]) => `${sign} ${value}`), ...given].join(", ");
}

export function table(caption, heads, rows) {
  return el(
    "table", {},
    el("caption", { class: "sr" }, caption),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, ...(Array.isArray(cell) ? cell : [cell])))))),
  );
}

// The row of a member or parameter: name, type, what it means.
export function row(member, schema, { needed = false, about = "" } = {}) {
  const limits = bounds(schema);
  const kind = limits ? [...type(schema), el("span", { class: "hint" }, ` ${limits}`)] : type(schema);
  return [[el("code", {}, member), needed ? el("span", { class: "hint" }, " needed") : ""].filter(Boolean), kind, prose(about || schema.description)];
}

export function model(label, schema) {
  const members = Object.entries(schema.properties || {});
  const needed = new Set(schema.required || []);
  const content = members.length
    ? table(`Members of ${label}`, ["member", "type", "meaning"], members.map(([member, described]) => row(member, described, { needed: needed.has(member) })))
    : el("p", {}, ...type(schema));
  return el("details", { class: "operation card", id: `schema-${label}` }, el("summary", {}, label), el("p", {}, ...prose(schema.description)), content);
}
