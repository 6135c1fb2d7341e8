// Whether this service is ready, for people: what /ready and /health say, asked again every few seconds.

import { $, el, span } from "./dom.js";
import { theme } from "./theme.js";
import { t, translate } from "./words.js";

const PAUSE = 5000;
const CHECKS = { store: "Database", migrations: "Migrations", redis: "Redis", draining: "Serving" };

function shown(ready, health) {
  const good = ready.status === "ready";
  $("verdict").textContent = good ? t("Ready: debates can be asked and watched.") : t("Not ready: requests may fail.");
  $("verdict").dataset.state = good ? "good" : "bad";
  $("checks").replaceChildren(...Object.entries(ready.checks).map(([name, check]) => el(
    "tr", {},
    el("th", { scope: "row" }, t(CHECKS[name] || name)),
    el("td", { "data-state": check.ok ? "good" : "bad" }, el("span", { "aria-hidden": true }, check.ok ? "✓ " : "✗ "), t(check.detail)),
  )));
  $("facts").textContent = t("Version {version}, build {build}, up for {time}", { version: health.version, build: health.build, time: span(health.uptime_seconds) });
}

async function look() {
  try {
    const [ready, health] = await Promise.all(["/ready", "/health"].map(async (path) => (await fetch(path)).json()));
    shown(ready, health);
  } catch {
    $("verdict").textContent = t("No answer: the server cannot be reached.");
    $("verdict").dataset.state = "bad";
  }
  setTimeout(look, PAUSE);
}

theme();
translate(document);
look();
