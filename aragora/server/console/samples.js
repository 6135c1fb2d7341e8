// One request in three languages. `request` is {method, url, body, token}: `body` is JSON or undefined, `token` whether
// it needs one.

const indented = (value) => JSON.stringify(value, null, 2);
const quoted = (words) => `'${words.replaceAll("'", "'\\''")}'`;

export function curl({ method, url, body, token }) {
  const parts = [`curl ${method === "GET" ? "" : `-X ${method} `}${quoted(url)}`];
  if (token) parts.push('-H "Authorization: Bearer $ARAGORA_API_TOKEN"');
  if (body !== undefined) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(indented(body))}`);
  return parts.join(" \\\n  ");
}

function literal(value, depth) {
  const inner = "    ".repeat(depth + 1);
  const end = `\n${"    ".repeat(depth)}`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return value.length ? `[\n${value.map((one) => `${inner}${literal(one, depth + 1)},`).join("\n")}${end}]` : "[]";
  if (typeof value === "object") {
    const members = Object.entries(value).map(([name, one]) => `${inner}${JSON.stringify(name)}: ${literal(one, depth + 1)},`);
    return members.length ? `{\n${members.join("\n")}${end}}` : "{}";
  }
  return JSON.stringify(value);
}

export function python({ method, url, body, token }) {
  const given = [];
  if (token) given.push(`    headers={"Authorization": f"Bearer {os.environ['ARAGORA_API_TOKEN']}"},`);
  if (body !== undefined) given.push(`    json=${literal(body, 1)},`);
  return [
    ...(token ? ["import os", ""] : []),
    "import requests",
    "",
    `response = requests.${method.toLowerCase()}(`,
    `    ${JSON.stringify(url)},`,
    ...given,
    "    timeout=60,",
    ")",
    "response.raise_for_status()",
    "print(response.text)",
  ].join("\n");
}

export function javascript({ method, url, body, token }) {
  const headers = [];
  if (token) headers.push("    Authorization: `Bearer ${process.env.ARAGORA_API_TOKEN}`,");
  if (body !== undefined) headers.push('    "Content-Type": "application/json",');
  const options = [`  method: ${JSON.stringify(method)},`];
  if (headers.length) options.push("  headers: {", ...headers, "  },");
  if (body !== undefined) options.push(`  body: JSON.stringify(${indented(body).replaceAll("\n", "\n  ")}),`);
  return [
    `const response = await fetch(${JSON.stringify(url)}, {`,
    ...options,
    "});",
    "if (!response.ok) throw new Error(await response.text());",
    "console.log(await response.text());",
  ].join("\n");
}

export const LANGUAGES = { curl, Python: python, JavaScript: javascript };
