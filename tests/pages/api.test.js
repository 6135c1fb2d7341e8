// The console's way to the server: requests, and a WebSocket that finds its way back after every loss.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

class Store extends Map {
  getItem(key) { return this.get(key) ?? null; }
  setItem(key, value) { this.set(key, value); }
  removeItem(key) { this.delete(key); }
}

class Socket {
  static OPEN = 1;
  static all = [];

  constructor(url, protocols) {
    Object.assign(this, { url, protocols, readyState: 0, sent: [], closed: null });
    Socket.all.push(this);
  }

  send(text) { this.sent.push(JSON.parse(text)); }

  close(code) {
    this.closed = code;
    this.end(code);
  }

  open() {
    this.readyState = Socket.OPEN;
    this.onopen();
  }

  end(code) {
    if (this.readyState > Socket.OPEN) return;
    this.readyState = 3;
    this.onclose({ code });
  }

  tell(message) { this.onmessage({ data: JSON.stringify(message) }); }
}

Object.assign(globalThis, {
  WebSocket: Socket,
  location: { protocol: "https:", host: "example.org" },
  sessionStorage: new Store(),
  localStorage: new Store(),
});
const { Follower, Refused, json, token } = await import("../../aragora/server/console/api.js");

beforeEach(() => {
  Socket.all.length = 0;
  token.set("");
  mock.timers.enable({ apis: ["setTimeout"] });
});
afterEach(() => mock.reset());

function follow() {
  const seen = { events: [], deltas: [], states: [], refused: [] };
  const follower = new Follower("d1", {
    event: (one) => seen.events.push(one.seq),
    delta: (one) => seen.deltas.push(one.text),
    state: (one) => seen.states.push(one),
    refused: (...why) => seen.refused.push(why),
  });
  return { follower, seen, socket: () => Socket.all.at(-1) };
}

const event = (seq, type = "agent_message") => ({ type, seq, debate_id: "d1" });

test("a follower subscribes from the start and hands every event over once", () => {
  const { seen, socket } = follow();
  assert.equal(socket().url, "wss://example.org/ws");
  socket().open();
  assert.deepEqual(socket().sent, [{ type: "subscribe", debate_id: "d1", replay_from_seq: 0 }]);
  for (const seq of [1, 2, 2, 1, 3]) socket().tell(event(seq));
  assert.deepEqual(seen.events, [1, 2, 3]);
});

test("after a loss it comes back and asks for what it has not seen", () => {
  const { seen, socket } = follow();
  socket().open();
  socket().tell(event(1));
  socket().end(1006);
  assert.equal(seen.states.at(-1), "lost");
  mock.timers.tick(1000);
  assert.equal(Socket.all.length, 2);
  socket().open();
  assert.equal(socket().sent[0].replay_from_seq, 1);
});

test("a gap closes the connection, and nothing behind it is shown", () => {
  const { seen, socket } = follow();
  socket().open();
  socket().tell(event(1));
  socket().tell(event(3));
  assert.equal(socket().closed, 4000);
  assert.deepEqual(seen.events, [1]);
});

test("pauses between attempts grow and are bounded", () => {
  const { socket } = follow();
  for (let attempt = 0; attempt < 12; attempt += 1) {
    socket().end(1006);
    mock.timers.tick(8000 * 1.3);
  }
  assert.equal(Socket.all.length, 13);
});

test("a silent connection is closed and made anew", () => {
  const { socket } = follow();
  socket().open();
  socket().tell({ type: "heartbeat" });
  mock.timers.tick(40_000);
  assert.equal(Socket.all[0].closed, 4000);
});

test("a refused token or an unknown debate ends the attempts", () => {
  for (const code of [4001, 4003, 4004]) {
    const { seen, socket } = follow();
    const before = Socket.all.length;
    socket().end(code);
    mock.timers.tick(60_000);
    assert.equal(Socket.all.length, before);
    assert.deepEqual(seen.refused, [[code]]);
  }
});

test("the end of the debate closes the connection for good", () => {
  const { seen, socket } = follow();
  socket().open();
  socket().tell(event(1, "debate_end"));
  assert.equal(socket().closed, 1000);
  mock.timers.tick(60_000);
  assert.equal(Socket.all.length, 1);
  assert.equal(seen.states.at(-1), "idle");
});

test("messages of another debate are not this one's", () => {
  const { seen, socket } = follow();
  socket().open();
  socket().tell({ ...event(1), debate_id: "d2" });
  assert.deepEqual(seen.events, []);
});

test("a token is kept where it was asked to be, and nowhere else", () => {
  token.set("secret", true);
  assert.equal(localStorage.getItem("aragora.token"), "secret");
  token.set("other", false);
  assert.equal(localStorage.getItem("aragora.token"), null);
  assert.equal(token.get(), "other");
});

test("the token goes with requests and with the WebSocket", async () => {
  token.set("secret", false);
  const asked = mock.method(globalThis, "fetch", async () => new Response("{}"));
  await json("POST", "/api/debates", { question: "?" });
  assert.equal(asked.mock.calls[0].arguments[1].headers.Authorization, "Bearer secret");
  assert.deepEqual(follow().socket().protocols, ["access_token.secret"]);
});

test("a refusal carries the server's code, words and details", async () => {
  const error = { code: "validation_error", message: "no", details: [{ field: "question" }] };
  mock.method(globalThis, "fetch", async () => Response.json({ error }, { status: 400 }));
  await assert.rejects(json("POST", "/api/debates", {}), (failure) => {
    assert.ok(failure instanceof Refused);
    assert.deepEqual([failure.status, failure.code, failure.message], [400, "validation_error", "no"]);
    return failure.details.length === 1;
  });
});

test("a refusal without JSON, and a server that is gone, are still refusals", async () => {
  mock.method(globalThis, "fetch", async () => new Response("<h1>Bad Gateway", { status: 502 }));
  await assert.rejects(json("GET", "/api/debates"), (failure) => failure.status === 502);
  mock.method(globalThis, "fetch", async () => { throw new TypeError("network"); });
  await assert.rejects(json("GET", "/api/debates"), (failure) => failure.code === "unreachable");
});

test("what is said without a connection is sent after it is back, once", () => {
  const { follower, seen, socket } = follow();
  const said = { type: "user_suggestion", debate_id: "d1", text: "measure first" };
  follower.tell(said);
  socket().open();
  assert.deepEqual(socket().sent.map((one) => one.type), ["subscribe"]);
  socket().tell({ type: "replay_end" });
  assert.deepEqual(socket().sent.at(-1), said);
  socket().end(1006);
  mock.timers.tick(1000);
  socket().open();
  socket().tell({ ...event(1, "user_suggestion"), data: { text: "measure first" } });
  socket().tell({ type: "replay_end" });
  assert.deepEqual(socket().sent.map((one) => one.type), ["subscribe"], "it had arrived");
  assert.deepEqual(seen.events, [1]);
});
