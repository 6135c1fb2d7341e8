// Lighthouse's scores of pages in a Chromium that runs: node lighthouse.mjs MODULES PORT, and on standard input a JSON list
// of {name, address, ready, colours}. On standard output, for each name and its colours, what each category scores (0 to 1)
// and the audits of accessibility that fail. A page is judged when `ready`, an expression, is true, by a snapshot: pages
// that ask again every second never come to the rest that its command line waits for.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const PATIENCE = 60_000;
const [modules, port] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { snapshot, desktopConfig } = await load("lighthouse");
const { default: puppeteer } = await load("puppeteer-core");

const browser = await puppeteer.connect({ browserURL: `http://127.0.0.1:${port}`, defaultViewport: null });
const found = {};
for (const { name, address, ready, colours } of JSON.parse(await text(process.stdin))) {
  const page = await browser.newPage();
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: colours }]);
  await page.setBypassCSP(true); // a shared page lets no script run, the auditor's neither
  await page.goto(address);
  for (const deadline = Date.now() + PATIENCE; !(await page.evaluate(ready)); await setTimeout(50)) {
    if (Date.now() > deadline) throw new Error(`${name}: not within ${PATIENCE} ms: ${ready}`);
  }
  const flags = { logLevel: "silent", onlyCategories: ["accessibility", "best-practices"] };
  const { lhr } = await snapshot(page, { config: desktopConfig, flags });
  const scores = Object.values(lhr.categories).map((category) => [category.id, category.score]);
  const failed = lhr.categories.accessibility.auditRefs.map((one) => lhr.audits[one.id]).filter((one) => one.score === 0);
  const dark = await page.evaluate(() => matchMedia("(prefers-color-scheme: dark)").matches);
  found[`${name} ${dark ? "dark" : "light"}`] = { ...Object.fromEntries(scores), failed: failed.map((one) => one.id) };
  await page.close();
}
await browser.disconnect();
console.log(JSON.stringify(found));
