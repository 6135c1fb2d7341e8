#!/usr/bin/env python3
"""A thousand debates in flight in one process: do all end, does it still answer, does its memory stay bounded?

Starts a provider (the chat completions API on loopback, a fixed time for each answer) and one server process that
asks it, puts the debates to that server, follows each over a WebSocket by `seq`, and samples `/healthz` and the
process' memory all the while. Needs Linux, the project's environment and nothing else.
"""

import argparse
import asyncio
import http.client
import json
import os
import platform
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import websocket

sys.path.insert(0, str(Path(__file__).resolve().parent))

from benchmark.measure import descendants, processor_ns, proportional_kib, resident_kib
from benchmark.process import free_port

CHECKOUT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
QUESTION = {"question": "Should we adopt event sourcing?", "early_stop": False}
SUBSCRIPTIONS = 100  # of one WebSocket, the server's limit
SAMPLE = 0.01  # seconds between two probes of /healthz
LATE = 30.0  # seconds after which a probe counts as lost
PIECES = 4  # in which an answer streams in, spread over its time
PROPOSAL = "Adopt it for the parts whose history is asked for, and keep plain tables elsewhere. " * 12
CRITICISM = {"reasoning": "Thin.", "issues": ["No costs named."], "suggestions": ["Name them."], "severity": 4}
CRITIQUES = json.dumps({"critiques": [{"answer": letter} | CRITICISM for letter in "ABCDEFGHI"]})
VOTE = json.dumps({"reasoning": "It names its limits.", "choice": "A", "confidence": 0.9})


def provide(listener: socket.socket, seconds: float) -> None:
    """Answer chat completions, each streamed over `seconds`, on any number of connections. Runs until killed."""

    def events(body: bytes) -> Iterator[bytes]:
        text = f"{PROPOSAL} Begin with part {zlib.crc32(body)}."  # answers that are alike would need no vote
        if b"one JSON object" in body:
            text = VOTE if b"choice" in body[-2000:] else CRITIQUES
        size = -(-len(text) // PIECES)
        for start in range(0, len(text), size):
            piece = {"model": "slow", "choices": [{"delta": {"content": text[start : start + size]}}]}
            yield b"data: " + json.dumps(piece).encode() + b"\n\n"
        yield b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                body = await reader.readexactly(int(length.partition(b":")[2]))
                said = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                for event in events(body):
                    await asyncio.sleep(seconds / (PIECES + 1))
                    writer.write(said + f"{len(event):x}\r\n".encode() + event + b"\r\n")
                    said = b""
                writer.write(b"0\r\n\r\n")
        except (EOFError, ConnectionError):
            pass  # the agent needs this connection no more
        finally:
            writer.close()

    async def serve() -> None:
        await (await asyncio.start_server(answer, sock=listener, backlog=4096)).serve_forever()

    asyncio.run(serve())


@contextmanager
def provider(seconds: float) -> Iterator[str]:
    """A provider in a process of its own; the address to ask."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    code = f"import socket, load_debates as l; l.provide(socket.socket(fileno={listener.fileno()}), {seconds})"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=Path(__file__).parent, pass_fds=[listener.fileno()]) as process:
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.kill()
            listener.close()


@dataclass
class Server:
    """The server under load: its port and the process that does the work."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def worker(self) -> int:
        """The pid of gunicorn's one worker, or of the development server."""
        return descendants(self.process.pid)[-1]

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def server(kind: str, directory: Path, provider_url: str) -> Iterator[Server]:
    """gunicorn with one gevent worker, or the development server, ready for requests."""
    port, ws_port = free_port(), free_port()
    settings = {
        "ARAGORA_BIND": f"127.0.0.1:{port}",
        "ARAGORA_WS_BIND": f"127.0.0.1:{ws_port}",
        "ARAGORA_DATA_DIR": str(directory),
        "ARAGORA_WORKERS": "1",
        "ARAGORA_MAX_REQUESTS": "0",  # else the worker that is measured is replaced half way
        "ARAGORA_ACCESS_LOG": str(directory / "access.log"),
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": provider_url,
    }
    settings |= {name: value for name, value in os.environ.items() if name in ("DATABASE_URL", "ARAGORA_REDIS_URL")}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ARAGORA_")} | settings
    commands = {
        "gunicorn": [str(BIN / "gunicorn"), "-c", "conf/gunicorn.conf.py"],
        "dev": [str(BIN / "aragora"), "serve", "--no-reload"],
    }
    log = directory / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(commands[kind], cwd=CHECKOUT, env=environ, stdout=sink, stderr=sink)
    started = Server(port, process, log)
    try:
        await_ready(started)
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_ready(started: Server) -> None:
    """Return when a request would succeed; SystemExit with the log when it never will."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and started.process.poll() is None:
        try:
            if requests.get(f"{started.base}/ready", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    sys.exit(f"the server did not start:\n{started.log.read_text()}")


@dataclass
class Samples:
    """What was seen while the debates ran: (moment, seconds) of each probe, (moment, RSS, PSS) in KiB."""

    probes: list[tuple[float, float]] = field(default_factory=list)
    memory: list[tuple[float, int, int]] = field(default_factory=list)
    lost: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def probe(self, port: int) -> None:
        """Ask /healthz again and again on one kept connection."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LATE)
        while not self.stopped.wait(SAMPLE):
            began = time.monotonic()
            try:
                connection.request("GET", "/healthz")
                fine = connection.getresponse()
                fine.read()
                if fine.status != 200:
                    self.lost += 1
            except (OSError, http.client.HTTPException):
                self.lost += 1
                connection.close()
            self.probes.append((began, time.monotonic() - began))
        connection.close()

    def weigh(self, pid: int) -> None:
        """Look at the process' memory twice a second."""
        while not self.stopped.wait(0.5):
            self.memory.append((time.monotonic(), resident_kib([pid]), proportional_kib([pid])))


@dataclass
class Watch:
    """One WebSocket that follows many debates."""

    last: dict[str, int]
    ended: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    reconnections: int = 0

    def follow(self, port: int, deadline: float) -> None:
        """Until all have ended or the time is up; a lost connection is opened again and resumed by seq."""
        while len(self.ended) < len(self.last) and time.monotonic() < deadline:
            try:
                self._listen(port, deadline)
            except (OSError, websocket.WebSocketException):
                self.reconnections += 1
                time.sleep(0.5)

    def _listen(self, port: int, deadline: float) -> None:
        channel = websocket.create_connection(f"ws://127.0.0.1:{port}/ws", timeout=60, suppress_origin=True)
        try:
            for number, (debate_id, seq) in enumerate(self.last.items()):
                if debate_id not in self.ended:
                    message = {"type": "subscribe", "debate_id": debate_id, "replay_from_seq": seq}
                    channel.send(json.dumps(message))
                if number >= SUBSCRIPTIONS // 2:
                    time.sleep(0.06)  # the server takes so many messages at once, then 20 a second
            while len(self.ended) < len(self.last) and time.monotonic() < deadline:
                self._take(json.loads(channel.recv()))
        finally:
            channel.shutdown()  # type: ignore[no-untyped-call]

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "error":
            self.faults.append(str(message))
        if message.get("seq") is None:
            return
        debate_id, seq = message["debate_id"], message["seq"]
        if seq != self.last[debate_id] + 1:
            self.faults.append(f"{debate_id}: {seq} after {self.last[debate_id]}")
        self.last[debate_id] = seq
        if message["type"] == "debate_end":
            self.ended[debate_id] = message["data"]["status"]


def ask_all(base: str, count: int, agents: int, rounds: int) -> list[str]:
    """Put the debates; their ids."""
    body = QUESTION | {"agents": ["openai"] * agents, "rounds": rounds, "timeout": 600}
    sessions = threading.local()

    def ask(_number: int) -> str:
        if not hasattr(sessions, "http"):
            sessions.http = requests.Session()
        answer = sessions.http.post(f"{base}/api/debates", json=body, timeout=60)
        if answer.status_code != 202:
            sys.exit(f"POST /api/debates: {answer.status_code} {answer.text[:300]}")
        return str(answer.json()["debate_id"])

    with ThreadPoolExecutor(4) as several:
        return list(several.map(ask, range(count)))


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which `part` of them lie."""
    found = sorted(values)
    return found[min(len(found) - 1, int(part * len(found)))]


def report(samples: Samples, began: float, ended: float) -> None:
    """What was seen from `began` to `ended`."""
    probes = [(at, took * 1000) for at, took in samples.probes if began <= at <= ended]
    if probes:
        seconds: dict[int, list[float]] = {}
        for at, took in probes:
            seconds.setdefault(int(at - began), []).append(took)
        worst = [quantile(found, 0.99) for found in seconds.values()]
        times = [took for _, took in probes]
        shown = ", ".join(f"p{part * 100:g} {quantile(times, part):.1f}" for part in (0.5, 0.95, 0.99))
        print(f"  /healthz, ms: {shown}, max {max(times):.1f}; {len(times)} probes, {samples.lost} lost")
        print(f"  p99 of each second, ms: median {statistics.median(worst):.1f}, 95th {quantile(worst, 0.95):.1f}")
    weighed = [(rss / 1024, pss / 1024) for at, rss, pss in samples.memory if began <= at <= ended]
    if weighed:
        rss, pss = [rss for rss, _ in weighed], [pss for _, pss in weighed]
        print(f"  RSS, MiB: first {rss[0]:.0f}, most {max(rss):.0f}, last {rss[-1]:.0f}; PSS most {max(pss):.0f}")


def wave(running: Server, samples: Samples, given: argparse.Namespace) -> bool:
    """One load of debates from the first question to the last end; whether all was as it should be."""
    began = time.monotonic()
    before = processor_ns([running.worker])
    ids = ask_all(running.base, given.debates, given.agents, given.rounds)
    asked = time.monotonic()
    deadline = began + given.deadline
    parts = [dict.fromkeys(ids[start : start + SUBSCRIPTIONS], 0) for start in range(0, len(ids), SUBSCRIPTIONS)]
    watches = [Watch(part) for part in parts]
    threads = [threading.Thread(target=watch.follow, args=(running.port, deadline)) for watch in watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = time.monotonic()
    states = [state for watch in watches for state in watch.ended.values()]
    faults = [fault for watch in watches for fault in watch.faults]
    events = sum(seq for watch in watches for seq in watch.last.values())
    done = states.count("completed")
    print(
        f"  {done} of {given.debates} completed; asked in {asked - began:.1f} s, all over after {ended - began:.1f} s"
    )
    print(f"  {events} events seen, {len(faults)} out of order, {sum(w.reconnections for w in watches)} reconnections")
    for fault in faults[:5]:
        print(f"  fault: {fault}")
    report(samples, began, ended)
    spent = (processor_ns([running.worker]) - before) / 1e9
    print(f"  the worker's processor time: {spent:.1f} s, {spent / (ended - began):.0%} of one core")
    return done == given.debates and not faults


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--server", choices=("gunicorn", "dev"), default="gunicorn", help="default: gunicorn")
    parser.add_argument("--debates", type=int, default=1000, help="in flight at once; default: 1000")
    parser.add_argument("--agents", type=int, default=2, help="of each debate; default: 2")
    parser.add_argument("--rounds", type=int, default=2, help="of each debate; default: 2")
    parser.add_argument("--answer", type=float, default=2.0, help="seconds that an answer takes; default: 2")
    parser.add_argument("--waves", type=int, default=1, help="loads one after the other in one process; default: 1")
    parser.add_argument("--deadline", type=float, default=180.0, help="seconds for one wave; default: 180")
    return parser.parse_args()


def main() -> int:
    """0 when every debate completed and every event was seen once, in order."""
    given = options()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(
        f"{given.server}, {given.debates} debates of {given.agents} agents and {given.rounds} rounds, "
        f"{given.answer:g} s an answer; Python {platform.python_version()}, {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    fine = True
    with (
        tempfile.TemporaryDirectory(prefix="debates-") as directory,
        provider(given.answer) as url,
        server(given.server, Path(directory), url) as running,
    ):
        samples = Samples()
        threads = [
            threading.Thread(target=samples.probe, args=(running.port,)),
            threading.Thread(target=samples.weigh, args=(running.worker,)),
        ]
        for thread in threads:
            thread.start()
        print(f"worker {running.worker}")
        try:
            for number in range(given.waves):
                print(f"wave {number + 1}:", flush=True)
                fine &= wave(running, samples, given)
        finally:
            samples.stopped.set()
            for thread in threads:
                thread.join()
        said = running.log.read_text(errors="replace")
        print(f"  in the log: {said.count('Traceback')} tracebacks, {said.count('WARNING')} warnings")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
