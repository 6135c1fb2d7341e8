"""Load that counts: requests, debates and WebSockets against one address, until standard input is closed.

    python tests/deployment/load.py http://127.0.0.1:8000 [TOKEN]

Writes a line "running" once every kind of request has succeeded, and at the end one JSON object. A WebSocket that is
told to come again (1001, 1012) does so and names the last number it saw; that is no loss. Everything else that is not
a success is listed under "lost".
"""

import json
import ssl
import sys
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import requests
import urllib3
import websocket

PATIENCE = 60.0  # seconds; run as a program of its own, this file imports nothing of the tests

PAUSE = 0.1  # seconds before a WebSocket comes again, as a client makes one
COME_AGAIN = (1001, 1012)
QUESTION = {"question": "Should we adopt event sourcing?", "agents": ["demo"] * 3, "rounds": 1, "early_stop": False}


class Load:
    """What has been asked for and what came of it."""

    def __init__(self, base: str, token: str) -> None:
        self.base = base
        self.fields = {"Authorization": f"Bearer {token}"} if token else {}
        self.stopping = threading.Event()
        self.seen: Counter[str] = Counter()
        self.lost: list[str] = []
        self.lock = threading.Lock()

    def count(self, kind: str, fault: str = "") -> None:
        with self.lock:
            self.seen[kind] += 1
            if fault:
                self.lost.append(f"{kind} after {self.seen[kind]}: {fault}")

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.verify = False
        session.headers.update(self.fields)
        return session

    def ask(self, session: requests.Session, kind: str, path: str, **options: Any) -> requests.Response | None:
        """One request that must succeed."""
        try:
            if "json" in options:
                key = {"Idempotency-Key": uuid.uuid4().hex}
                answer = session.post(self.base + path, headers=key, timeout=60, **options)
            else:
                answer = session.get(self.base + path, timeout=60, **options)
        except requests.RequestException as error:
            self.count(kind, repr(error))
            return None
        self.count(kind, "" if answer.ok else f"{answer.status_code} {answer.text[:200]}")
        return answer if answer.ok else None

    def read(self, kept: bool) -> None:
        """Requests one after the other, on one connection or on one each."""
        session = self.session()
        while not self.stopping.is_set():
            self.ask(session, "kept" if kept else "new", "/api/agents/availability")
            if not kept:
                session.close()

    def debate(self) -> None:
        """Debates one after the other, each watched to its end."""
        session = self.session()
        while not self.stopping.is_set():
            created = self.ask(session, "debates", "/api/debates", json=QUESTION)
            if created is not None:
                self.watch(created.json()["debate_id"])

    def wait(self) -> None:
        """Debates whose end is waited for in the request."""
        session = self.session()
        while not self.stopping.is_set():
            self.ask(session, "waits", "/api/debates?wait=20", json=QUESTION)

    def watch(self, debate_id: str) -> None:
        """Follow one debate by number; the log must come whole."""
        last, ended, deadline = 0, False, time.monotonic() + PATIENCE
        while not ended:
            if time.monotonic() > deadline:
                self.count("watched", f"{debate_id} stands at {last}")
                return
            try:
                channel = self.connect()
            except (OSError, websocket.WebSocketException) as error:
                self.count("sockets", repr(error))
                return
            self.count("sockets")
            try:
                channel.send(json.dumps({"type": "subscribe", "debate_id": debate_id, "replay_from_seq": last}))
                last, ended = self.follow(channel, last)
            except (OSError, websocket.WebSocketException, ValueError) as error:
                self.count("watched", f"{debate_id} at {last}: {error!r}")
                return
            finally:
                channel.shutdown()
        self.count("watched")

    def stay(self) -> None:
        """A connection that watches nothing, and comes again when it is told to: there is one whatever else goes on."""
        while not self.stopping.is_set():
            try:
                channel = self.connect()
            except (OSError, websocket.WebSocketException) as error:
                self.count("stays", repr(error))
                return
            self.count("stays")
            channel.settimeout(0.5)
            try:
                while not self.stopping.is_set():
                    with suppress(websocket.WebSocketTimeoutException):
                        self.follow(channel, 0)
                        break
            except (OSError, websocket.WebSocketException, ValueError) as error:
                self.count("stays", f"while nothing is watched: {error!r}")
                return
            finally:
                channel.shutdown()

    def follow(self, channel: websocket.WebSocket, last: int) -> tuple[int, bool]:
        """The last number of one connection, and whether the debate has ended. Raises ValueError at a gap."""
        while True:
            kind, content = channel.recv_data()
            if kind == websocket.ABNF.OPCODE_CLOSE:
                code = int.from_bytes(content[:2])
                if code not in COME_AGAIN:
                    raise ValueError(f"closed with {code}")
                self.count("resumed")
                time.sleep(PAUSE)  # as a client does: a pause before it comes again
                return last, False
            message = json.loads(content)
            if message.get("seq") is not None:
                if message["seq"] != last + 1:
                    raise ValueError(f"{message['seq']} after {last}")
                last += 1
                self.count("events")
            if message["type"] == "debate_end":
                if message["data"]["status"] != "completed":
                    raise ValueError(f"ended as {message['data']['status']}")
                return last, True

    def connect(self) -> websocket.WebSocket:
        return websocket.create_connection(
            self.base.replace("http", "ws", 1) + "/ws",
            timeout=PATIENCE,
            header=[f"{name}: {value}" for name, value in self.fields.items()],
            sslopt={"cert_reqs": ssl.CERT_NONE},
            http_no_proxy=["*"],
        )


def main(base: str, token: str = "") -> int:
    """0 when nothing was lost."""
    urllib3.disable_warnings()
    load = Load(base, token)
    work = [lambda: load.read(True), lambda: load.read(False), load.wait, load.stay, *[load.debate] * 3]
    with ThreadPoolExecutor(len(work)) as threads:
        running = [threads.submit(one) for one in work]
        while not all(load.seen[kind] for kind in ("kept", "new", "waits", "watched", "stays")):
            if any(one.done() for one in running) or load.lost:
                break
            time.sleep(0.05)  # several threads count, and this program has nothing of the tests to wait with
        print("running", flush=True)
        sys.stdin.read()
        load.stopping.set()
        for one in running:
            one.result()
    print(json.dumps({"seen": load.seen, "lost": load.lost}))
    return 1 if load.lost else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
