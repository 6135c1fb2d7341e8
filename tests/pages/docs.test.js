// The page of the API: every operation and model of the server's own description is on it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { install } from "./elements.js";

install();
const DESCRIPTION = {
  info: { description: "Debates.", version: "1.2" },
  paths: {
    "/api/debates": {
      get: {
        operationId: "list", summary: "List them",
        parameters: [{ name: "limit", in: "query", description: "at most", schema: { type: "integer", minimum: 1, maximum: 100 } }],
        responses: { 200: { description: "some", content: { "application/json": { schema: { $ref: "#/components/schemas/Page" } } } } },
      },
      post: {
        operationId: "create", summary: "Begin one",
        requestBody: { content: { "application/json": { schema: { anyOf: [{ type: "array", items: { enum: ["a", "b"] } }, {}] } } } },
        responses: { 204: { description: "begun" } },
      },
    },
  },
  components: { schemas: { Page: { type: "object" } } },
};
globalThis.fetch = async (path) => ({ json: async () => (path === "/api/openapi.json" ? DESCRIPTION : {}) });
await import("../../aragora/server/console/docs.js");

const [list, create, , page] = document.getElementById("api").children;
const cells = (section) => section.all("tr").map((row) => row.children.map((cell) => cell.textContent));

test("the page says of which version it is", () => {
  assert.equal(document.getElementById("about").textContent, "Debates. Version 1.2.");
});

test("an operation shows its parameters with their bounds, and its responses", () => {
  assert.equal(list.all("h2")[0].textContent, "GET/api/debates");
  assert.deepEqual(cells(list), [
    ["limit", "query", "integer (minimum 1, maximum 100)", "at most"],
    ["200", "some", "Page"],
  ]);
});

test("a body is told by the names of its types", () => {
  assert.match(create.textContent, /Body: a \| b\[\] \| any204begun$/);
});

test("every model is shown as it is described", () => {
  assert.deepEqual(JSON.parse(page.all("pre")[0].textContent), { type: "object" });
});
