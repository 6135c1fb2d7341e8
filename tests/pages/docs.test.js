// The page of the API: every operation, message and model of the server's own descriptions is on it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
globalThis.localStorage = { getItem: (key) => (key === "aragora.token" ? "secret" : null) };
globalThis.sessionStorage = { getItem: () => null };
globalThis.location = { origin: "https://debates.example", hash: "" };
const DESCRIPTION = {
  info: { description: "Debates, at `/api`.", version: "1.2" },
  tags: [{ name: "Debates", description: "What is argued." }, { name: "Rest", description: "The rest." }],
  paths: {
    "/api/debates": {
      get: {
        operationId: "list", summary: "List them", tags: ["Debates"],
        parameters: [{ name: "limit", in: "query", description: "at `most`", schema: { type: "integer", minimum: 1, maximum: 100 } }],
        responses: { 200: { description: "some", content: { "application/json": { schema: { $ref: "#/components/schemas/Page" }, example: { count: 0 } } } } },
      },
      post: {
        operationId: "create", summary: "Begin one", tags: ["Rest"],
        requestBody: { content: { "application/json": { schema: { anyOf: [{ type: "array", items: { enum: ["a", "b"] } }, {}] }, example: { question: "Why?" } } } },
        responses: { 204: { description: "begun" } },
      },
    },
  },
  components: { schemas: { Page: { type: "object", description: "A page.", required: ["count"], properties: { count: { type: "integer", description: "of `all`" } } } } },
};
const EVENTS = {
  info: { description: "Live." },
  channels: { debates: { address: "/ws" } },
  operations: {
    answer: { action: "receive", summary: "asked", messages: [{ $ref: "#/channels/debates/messages/ping" }] },
    tell: { action: "send", summary: "told", messages: [{ $ref: "#/channels/debates/messages/event.vote" }] },
  },
  components: {
    messages: { ping: { name: "ping", summary: "Ask.", payload: { $ref: "#/components/schemas/Ping" } }, "event.vote": { name: "vote", summary: "A vote.", payload: { $ref: "#/components/schemas/Vote" } } },
    schemas: { Ping: { type: "object" }, Vote: { type: "object" } },
  },
};
globalThis.fetch = async (path) => ({ json: async () => (path === "/api/openapi.json" ? DESCRIPTION : EVENTS) });
const { shown } = await import("../../aragora/server/console/docs.js");
await shown;

const api = document.getElementById("api").children;
const section = (id) => api.find((one) => one.getAttribute("id") === id);
const cells = (element) => element.all("tr").map((row) => row.children.map((cell) => cell.textContent));

test("the page says of which version it is, and with which token it asks", () => {
  assert.equal(document.getElementById("about").textContent, "Debates, at /api. Version 1.2.");
  assert.match(document.getElementById("token-state").textContent, /with the token/);
});

test("an operation shows its parameters with their bounds, and its responses", () => {
  assert.equal(section("list").all("h3")[0].textContent, "GET/api/debates");
  assert.deepEqual(cells(section("list")), [
    ["parameter", "type", "meaning"],
    ["limit", "integer ≥ 1, ≤ 100", "at most"],
    ["status", "meaning", "body"],
    ["200", "some", "Page"],
  ]);
  assert.equal(section("list").all("code")[2].textContent, "most");
});

test("a body is told by the names of its types", () => {
  assert.ok(section("create").children.some((one) => one.textContent === 'Body: "a" | "b"[] | any'));
});

test("examples stand beside what they are of", () => {
  assert.ok(section("list").all("pre").some((one) => one.textContent === '{\n  "count": 0\n}'));
  assert.equal(section("create").all("textarea")[0].value, '{\n  "question": "Why?"\n}');
});

test("the contents lead to every group and operation", () => {
  const links = document.getElementById("contents").all("a").map((one) => one.getAttribute("href"));
  assert.deepEqual(links, ["#about-Debates", "#list", "#about-Rest", "#create", "#about-WebSocket", "#about-models"]);
  for (const link of links) assert.ok(section(link.slice(1)), link);
});

test("both sides of the WebSocket are told with their messages", () => {
  assert.deepEqual(cells(section("ws")), [["type", "meaning", "message"], ["ping", "Ask.", "Ping"], ["type", "meaning", "message"], ["vote", "A vote.", "Vote"]]);
});

test("every model is shown with its members", () => {
  assert.deepEqual(api.map((one) => one.getAttribute("id")).filter((id) => id?.startsWith("schema-")), ["schema-Page", "schema-Ping", "schema-Vote"]);
  assert.deepEqual(cells(section("schema-Page")), [["member", "type", "meaning"], ["count needed", "integer", "of all"]]);
});
