// The page: fetches a reading every second, keeps the last three minutes and the gateway's last hour, sends commands.

import { cache, purging } from "./cache.js";
import { certificates, onDemand } from "./certificates.js";
import { Chart, SPAN, linear, logarithmic } from "./charts.js";
import { documents } from "./documents.js";
import { $, mark, write } from "./dom.js";
import { failing } from "./filters.js";
import { History, marked } from "./history.js";
import { routes } from "./routes.js";
import { bytes, count, duration, perSecond, point, share } from "./statistics.js";
import { containers, failures, listeners, requests, settings, tunnels, workers } from "./tables.js";

const PERIOD = 1000; // milliseconds between readings
const TOKEN = "gateway-token";
const RANGE = "gateway-range";
const history = new History();
let readings = [];
let points = [];
let chosen = Number(sessionStorage.getItem(RANGE)); // seconds of the charts; 0: what there is, up to an hour
let span = SPAN;

const traffic = new Chart($("traffic"), $("traffic-legend"), [
  { name: "ok (2xx, 3xx)", kind: "good", value: (one) => one.good },
  { name: "client errors (4xx)", kind: "refused", value: (one) => one.refused },
  { name: "server errors (5xx)", kind: "failed", value: (one) => one.failed },
], { stacked: true, text: perSecond, scale: linear(5), what: "Requests per second" });
const latency = new Chart($("latency"), $("latency-legend"), [
  { name: "p50", kind: "p50", value: (one) => one.p50 },
  { name: "p95", kind: "p95", value: (one) => one.p95 },
  { name: "p99", kind: "p99", value: (one) => one.p99 },
], { stacked: false, text: duration, scale: logarithmic(0.001), what: "Latency" });

// Requests.

class Refusal extends Error {}

const WHERE = "Run aragora-proxy token on the gateway's machine to print it; if admin_token_file is set, it is in "
  + "that file. It stays in this tab.";

async function fetched(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
  if (answer.status === 401) {
    if (!(await askToken(token !== null))) throw new Refusal("commands require the gateway's token");
    return fetched(path, options);
  }
  if (answer.ok) return answer;
  const refused = await answer.json();
  throw new Refusal(refused.error ?? `the gateway responded with ${answer.status}`);
}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const document = await (await fetched(path, options)).json();
  if (document.private === false && token !== null && sessionStorage.getItem(TOKEN) === token) {
    sessionStorage.removeItem(TOKEN);  // also when the gateway was restarted and generated another
    tell("This is not the gateway's token.", "bad");
  }
  return document;
}

// Resolves to whether a token was entered.
function askToken(wrong) {
  write($("token-hint"), `${wrong ? "This is not the gateway's token. " : "The gateway's token is required. "}${WHERE}`);
  const dialog = $("token-dialog");
  dialog.returnValue = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "save"), { once: true }));
}

$("token-form").addEventListener("submit", (event) => {
  if (event.submitter.value === "save") sessionStorage.setItem(TOKEN, $("token").value.trim());
  $("token").value = "";
});
$("open-token").addEventListener("click", () => askToken(false));

// Commands.

async function order(command, given) {
  const question = QUESTIONS[command]?.(given);
  if (question && !(await confirmed(...question))) return;
  try {
    const done = await ask(`/${command}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(given),
    });
    const behind = done.behind.length ? `, but workers ${done.behind.join(", ")} have not applied it yet` : "";
    tell(`${done.done}${behind}.`, done.behind.length ? "warn" : "good");
  } catch (problem) {
    failed(problem);
  }
  await read();
}

const failed = (problem) =>
  tell(problem instanceof Refusal ? `Failed: ${problem.message}` : "Failed: the gateway does not respond.", "bad");

documents(fetched, failed);
purging(order);

// Settled on submit: the dialog's close event comes a frame later, perhaps when the next question is already open.
let settle = () => {};
$("confirm-form").addEventListener("submit", (event) => settle(event.submitter.value === "yes"));
$("confirm").addEventListener("cancel", () => settle(false));

// What is asked before a command is sent: a title, what follows from it, and the button's text.
const QUESTIONS = {
  maintenance: ({ on, route }) => on && [
    route ? `Put ${route} into maintenance?` : "Put the gateway into maintenance?",
    `${route ? "All requests of this route get" : "All requests get"} the maintenance page, with status 503, until you `
      + "end it. Requests and WebSockets in progress continue.",
    "Start maintenance",
  ],
  purge: ({ url, prefix, tag }) => [
    url || prefix || tag ? "Remove stored responses?" : "Remove all stored responses?",
    `${url ? `That of ${url} goes` : prefix ? `Those of addresses that begin with ${prefix} go` : tag ? `Those with the tag ${tag} go` : "They go"}`
      + ", for all workers. The application is asked again for what clients want.",
    "Remove",
  ],
};

function confirmed(title, text, yes) {
  write($("confirm-title"), title);
  write($("confirm-text"), text);
  write($("confirm-yes"), yes);
  $("confirm").showModal();
  return new Promise((resolve) => { settle = resolve; });
}

let forgetting = 0;

function tell(text, kind) {
  const notice = $("notice");
  write(notice, text.charAt(0).toUpperCase() + text.slice(1));
  mark(notice, "data-kind", kind);
  notice.hidden = false;
  clearTimeout(forgetting);
  forgetting = setTimeout(() => { notice.hidden = true; }, kind === "good" ? 6000 : 20000);
}

$("maintenance").addEventListener("click", () =>
  order("maintenance", { on: $("maintenance").getAttribute("aria-pressed") !== "true" }));

// Rendering.

async function show(reading) {
  const last = readings.at(-1);
  if (last && (reading.requests < last.requests || reading.now < last.now)) {
    readings = points = [];
    history.forget();
  }
  await history.refresh(ask);
  readings = [...readings, reading].filter((one) => one.now > reading.now - SPAN - 5);
  if (readings.length > 1) points = [...points, point(readings)].filter((one) => one.time > reading.now - SPAN - 5);
  if (points.length) tiles(points.at(-1), reading);
  charts();
  marked(history.marks, reading.now);
  head(reading);
  routes(readings, history, order);
  containers(reading);
  cache(readings, history);
  failures(reading, readings[0]);
  failing(reading);
  requests("slowest", reading);
  tunnels(reading);
  certificates(reading);
  onDemand(reading);
  workers(reading);
  settings(reading);
  listeners(reading);
  mark($("main"), "aria-busy", "false");
}

// The last minutes second by second as far as the page has seen them, and what the gateway keeps of the time before.
function charts() {
  const uptime = readings.at(-1)?.uptime_seconds ?? 0;
  const ranges = [...$("ranges").children].map((one) => Number(one.value));
  span = chosen || (ranges.find((seconds) => uptime <= seconds) ?? ranges.at(-1));
  for (const one of $("ranges").children) mark(one, "aria-pressed", String(Number(one.value) === span));
  const live = span <= SPAN ? points : points.slice(-1);
  const first = live[0]?.time ?? Infinity;
  const shown = [...history.whole.filter((one) => one.time < first), ...live];
  const end = shown.at(-1)?.time;
  const inside = shown.filter((one) => one.time > end - span);
  traffic.show(inside, span, history.marks);
  latency.show(inside, span, history.marks);
}

$("search").addEventListener("input", () => { if (readings.length) routes(readings, history, order); });

for (const button of $("ranges").children) {
  button.addEventListener("click", () => {
    chosen = Number(button.value);
    sessionStorage.setItem(RANGE, button.value);
    charts();
  });
}

function tiles(now, reading) {
  const open = reading.connections;
  write($("now-rate"), `${perSecond(average("rate"))} /s`);
  write($("now-total"), `${count(reading.requests)} total · ${bytes(average("received"))}/s in, ${bytes(average("sent"))}/s out`);
  write($("now-p95"), duration(now.p95));
  write($("now-percentiles"), now.p50 === null ? "no requests at the moment" : `p50 ${duration(now.p50)}, p99 ${duration(now.p99)}`);
  write($("now-failing"), share(now.failing));
  write($("now-failed"), `${count(now.failures)} total`);
  mark($("tile-failing"), "data-kind", now.failing >= 0.01 ? "bad" : "calm");
  write($("now-open"), count(open.active + open.idle + open.tunnel));
  const waiting = reading.requests_retry_waiting + reading.requests_queued;
  write($("now-kinds"), `${count(open.active)} active, ${count(open.idle)} idle, ${count(open.tunnel)} WebSockets`
    + (waiting ? `, ${count(waiting)} waiting` : ""));
}

const average = (name) => {
  const late = points.slice(-5);
  return late.reduce((sum, one) => sum + one[name], 0) / late.length;
};

// Whether the limits count what clients send to other gateways too.
function sharing({ now, shared_limits: { state, store, lost_since } }) {
  if (state === "linked") return "limits shared";
  return state === "lost" ? `counts alone: ${store} lost for ${duration(now - lost_since)}` : "";
}

function head(reading) {
  const paused = reading.maintenance.all;
  const front = reading.listeners.filter((one) => one.role === "front").map((one) => one.address).join(", ");
  const facts = [reading.version, reading.form, `up ${duration(reading.uptime_seconds)}`, front, sharing(reading)];
  write($("facts"), facts.filter(Boolean).join(" · "));
  mark($("facts"), "title", reading.shared_limits.fault);
  const button = $("maintenance");
  button.disabled = false;
  write(button, paused ? "End maintenance" : "Maintenance");
  mark(button, "aria-pressed", String(paused));
  $("open-token").hidden = reading.private;
  const banner = $("banner");
  banner.hidden = !paused;
  if (paused) write(banner, "Maintenance mode is on: all requests get the maintenance page.");
  state(paused ? "warn" : "live", paused ? "maintenance" : "live");
  const failing = points.at(-1)?.failing ?? 0;
  document.title = failing >= 0.01 ? `${share(failing)} failing: Gateway` : paused ? "Maintenance: Gateway" : "Gateway";
  $("gone").hidden = true;
  mark($("main"), "data-stale", "false");
}

// What is shown is of the past: no one may take it for the present.
function gone(why) {
  state("lost", why);
  document.title = "✖ Gateway: no response";
  const last = readings.at(-1);
  const seconds = last ? Math.max(1, Math.round(Date.now() / 1000 - last.seen)) : 0;
  const since = last ? `has not responded for ${seconds < 120 ? `${seconds} s` : duration(seconds)}` : "does not respond";
  write($("gone"), `The gateway ${since}${why === SILENT ? "" : ` (${why})`}.${
    last ? ` All figures below are those of ${clock(last.seen)}.` : ""}`);
  $("gone").hidden = false;
  mark($("main"), "data-stale", "true");
}

const SILENT = "no response";
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();

function state(kind, text) {
  mark($("link-state"), "data-state", kind);
  write($("link-state").lastElementChild, text);
}

// A hidden page sends no requests, so the gateway's workers stop writing reports for it.
let reading = null;

function read() {
  reading ??= ask("/status.json")
    .then((answer) => show({ ...answer, seen: Date.now() / 1000 }))
    .catch((problem) => gone(problem instanceof Refusal ? problem.message : SILENT))
    .finally(() => { reading = null; });
  return reading;
}

async function go() {
  if (!document.hidden) await read();
  setTimeout(go, PERIOD);
}

$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("gateway-theme", root.dataset.theme);
});
const theme = localStorage.getItem("gateway-theme");
if (theme) document.documentElement.dataset.theme = theme;
go();
