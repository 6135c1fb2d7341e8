// The server: requests with the token, and a WebSocket that finds its way back after every loss.

const KEY = "aragora.token";

export const token = {
  get: () => sessionStorage.getItem(KEY) || localStorage.getItem(KEY) || "",
  set(value, remember) {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
    if (value) (remember ? localStorage : sessionStorage).setItem(KEY, value);
  },
};

export class Refused extends Error {
  constructor(status, error) {
    super(error.message || `the server answered ${status}`);
    this.status = status;
    this.code = error.code;
    this.details = error.details || [];
  }
}

export async function request(method, path, body, more = {}) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), ...more });
  } catch {
    throw new Refused(0, { code: "unreachable", message: "the server cannot be reached" });
  }
  if (answer.ok) return answer;
  const content = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, content.error || {});
}

export const json = async (method, path, body) => (await request(method, path, body)).json();

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;
const SILENCE = 40000; // heartbeats come every 15 s

// Follows one debate. Every event is handed over once, in order, however often the connection is lost.
export class Follower {
  constructor(debateId, { event, delta, state, refused, pending = () => {} }) {
    this.debateId = debateId;
    this.on = { event, delta, state, refused, pending };
    this.outbox = []; // what was said and is not in the log yet
    this.live = false;
    this.seq = 0;
    this.pause = FIRST_PAUSE;
    this.over = false;
    this.connect();
  }

  connect() {
    if (this.over) return;
    this.on.state("connecting");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const protocols = token.get() ? [`access_token.${token.get()}`] : [];
    let socket;
    try {
      socket = new WebSocket(`${scheme}//${location.host}/ws`, protocols);
    } catch {
      this.stop();
      this.on.refused(4001);
      return;
    }
    this.socket = socket;
    socket.onopen = () => this.send({ type: "subscribe", debate_id: this.debateId, replay_from_seq: this.seq });
    socket.onmessage = (message) => this.take(JSON.parse(message.data));
    socket.onclose = (close) => this.lost(close.code);
  }

  take(message) {
    this.watch();
    if (message.debate_id && message.debate_id !== this.debateId) return;
    if (message.type === "token_delta") {
      this.on.delta(message);
    } else if (message.type === "replay_end") {
      this.pause = FIRST_PAUSE;
      this.live = true;
      this.on.state("live");
      // What arrived before the connection was lost has come back as events by now; the rest is sent again.
      for (const said of this.outbox) this.send(said);
    } else if (message.seq !== undefined) {
      if (message.seq <= this.seq) return;
      if (message.seq > this.seq + 1) {
        this.socket.close(4000, "gap"); // the way back asks for what is missing
        return;
      }
      this.seq = message.seq;
      this.arrived((said) => said.type === message.type && (said.text ?? said.choice) === (message.data?.text ?? message.data?.choice));
      this.on.event(message);
      if (message.type === "debate_end") this.stop();
    } else if (message.type === "error") {
      this.arrived(() => true);
      this.on.refused(0, message.error.message);
    }
  }

  // A connection that is dead without having been closed is noticed by its silence.
  watch() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.socket.close(4000, "silence"), SILENCE);
  }

  lost(code) {
    clearTimeout(this.silence);
    if (this.over) return;
    if (code === 4001 || code === 4003 || code === 4004) {
      this.stop();
      this.on.refused(code);
      return;
    }
    this.live = false;
    this.on.state("lost");
    this.on.pending(this.outbox);
    this.timer = setTimeout(() => this.connect(), this.pause * (0.7 + 0.6 * Math.random()));
    this.pause = Math.min(LONGEST_PAUSE, this.pause * 2);
  }

  // Says something in the debate: now, or as soon as there is a connection again.
  tell(message) {
    this.outbox.push(message);
    if (this.live) this.send(message);
    else this.on.pending(this.outbox);
  }

  // The first message of the outbox that `is` it has been dealt with.
  arrived(is) {
    const place = this.outbox.findIndex(is);
    if (place < 0) return;
    this.outbox.splice(place, 1);
    this.on.pending(this.live ? [] : this.outbox);
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  retry() {
    clearTimeout(this.timer);
    if (!this.over && this.socket.readyState > WebSocket.OPEN) this.connect();
  }

  stop() {
    if (this.over) return;
    this.over = true;
    this.live = false;
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    this.socket?.close(1000);
    this.on.state("idle");
  }
}
