"""Workers and masters of the application die at random moments; those who watch through the gateway notice a gap of
seconds, never one of events.

A thorough run: ARAGORA_DRILL_ROUNDS=20 pytest tests/deployment/test_kill_drills.py
"""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from tests.aragora.storage.databases import postgresql, postgresql_template
from tests.aragora.storage.redis_server import RedisServer
from tests.deployment.processes import GUNICORN, Running, gateway, get, ports
from tests.waiting import PATIENCE, until

__all__ = ["postgresql", "postgresql_template"]

ROUNDS = int(os.environ.get("ARAGORA_DRILL_ROUNDS", "2"))
DEBATES = 4
WATCHERS = 2  # of each debate
QUESTION = {"question": "Should we adopt event sourcing?", "agents": ["demo"] * 3, "rounds": 2, "early_stop": False}
Event = dict[str, Any]


class Application:
    """gunicorn's master and its workers, which may be killed and started again on the same ports."""

    def __init__(self, directory: Path, **environ: str) -> None:
        self.directory = directory
        self.http, ws = ports(2)
        self.environ = environ | {
            "ARAGORA_BIND": f"127.0.0.1:{self.http}",
            "ARAGORA_WS_BIND": f"127.0.0.1:{ws}",
            "ARAGORA_DATA_DIR": str(directory),
            "ARAGORA_WORKERS": "2",
            "ARAGORA_LEASE_TTL": "1",
            "ARAGORA_DEMO_DELAY": "0.2",
        }
        self.started: list[Running] = []

    def __enter__(self) -> "Application":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.started:
            running.__exit__(None, None, None)

    def start(self) -> None:
        """One master more; the last one is dead."""
        log = self.directory / f"application-{len(self.started)}.log"
        running = Running(GUNICORN, "-c", "conf/gunicorn.conf.py", log=log, **self.environ)
        self.started.append(running)
        running.ready(self.http, "/ready")

    def kill_worker(self, chance: random.Random) -> None:
        """Any of those that live; the master replaces it."""
        master = self.started[-1].process.pid
        children = Path(f"/proc/{master}/task/{master}/children")
        workers = until(lambda: children.read_text().split(), "a worker to kill")
        os.kill(int(chance.choice(workers)), signal.SIGKILL)

    def kill_master(self, _chance: random.Random) -> None:
        """Its workers notice that they are orphans and end; then another master takes the ports."""
        last = self.started[-1]
        last.process.kill()
        last.process.wait()
        until(lambda: not last.left_behind(), "the end of the orphans")
        self.start()

    def tracebacks(self) -> list[str]:
        return [running.output() for running in self.started if "Traceback" in running.output()]


class Watcher:
    """Follows one debate by seq over as many connections as it takes."""

    def __init__(self, front: int, debate_id: str) -> None:
        self.front = front
        self.debate_id = debate_id
        self.seen: list[Event] = []
        self.connections = 0

    def follow(self) -> "Watcher":
        """Until the debate's end."""
        deadline = time.monotonic() + PATIENCE
        while not self.seen or self.seen[-1]["type"] != "debate_end":
            assert time.monotonic() < deadline, f"{self.debate_id} stands at {self.seen[-1:]}"
            try:
                self._listen()
            except (OSError, websocket.WebSocketException):
                time.sleep(0.1)  # as a client does: a pause before it comes again
        return self

    def _listen(self) -> None:
        address = f"ws://127.0.0.1:{self.front}/ws"
        channel = websocket.create_connection(address, timeout=20, http_no_proxy=["127.0.0.1"])
        self.connections += 1
        try:
            last = self.seen[-1]["seq"] if self.seen else 0
            message = {"type": "subscribe", "debate_id": self.debate_id, "replay_from_seq": last}
            channel.send(json.dumps(message))
            while not self.seen or self.seen[-1]["type"] != "debate_end":
                message = json.loads(channel.recv() or "{}")
                if not message:
                    return  # told to come again
                if message.get("seq") is not None:
                    self.seen.append(message)
        finally:
            channel.shutdown()


def asked(front: int) -> str:
    """The id of a new debate."""
    answer = get(front, "/api/debates", method="POST", json=QUESTION)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["debate_id"])


def stored(front: int, debate_id: str) -> list[Event]:
    """The log, once anybody is there to read it."""

    def read() -> list[Event]:
        try:
            answer = get(front, f"/api/debates/{debate_id}/events?limit=500")
        except requests.RequestException:
            return []
        return list(answer.json()["events"]) if answer.ok else []

    return until(read, f"the log of {debate_id}")


def await_events(watchers: list[Watcher], count: int) -> None:
    """Return when somebody has seen so many."""
    until(lambda: max(len(watcher.seen) for watcher in watchers) >= count, f"{count} events")


def compared(event: Event) -> tuple[Any, ...]:
    return tuple(event[name] for name in ("seq", "type", "round", "agent", "data"))


def whole(watchers: list[Watcher], log: list[Event]) -> None:
    """The log has no gap and nothing twice, and every watcher has seen just that."""
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    types = Counter(event["type"] for event in log)
    assert types["debate_start"] == types["debate_end"] == 1
    assert log[-1]["type"] == "debate_end"
    assert log[-1]["data"]["status"] == "completed"
    said = Counter(
        (event["type"], event["round"], event["agent"], event["data"].get("role"), event["data"].get("target"))
        for event in log
        if event["type"] in ("agent_message", "critique", "vote")
    )
    assert set(said.values()) == {1}
    for watcher in watchers:
        assert [compared(event) for event in watcher.seen] == [compared(event) for event in log]


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=[pytest.mark.component("postgresql"), pytest.mark.component("redis")]),
    ]
)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What an installation on one machine has, and one on several: SQLite, or PostgreSQL and Redis."""
    if request.param == "sqlite":
        yield {}
        return
    server = request.getfixturevalue("postgresql")
    template = request.getfixturevalue("postgresql_template")
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        yield {"DATABASE_URL": server.new_database(template), "ARAGORA_REDIS_URL": redis.url}
    finally:
        redis.kill()


@pytest.mark.drill
@pytest.mark.timeout(60 + ROUNDS * 30)
def test_every_watcher_sees_every_event_once_whoever_is_killed(stores: dict[str, str], tmp_path: Path) -> None:
    chance = random.Random(4)
    reconnections = 0
    with Application(tmp_path, **stores) as app, gateway(tmp_path, app.http) as (_gateway, front):
        # How many events of 31 somebody has seen at most when it happens. The orphans of a master go on for a second.
        before = {app.kill_worker: 31, app.kill_master: 10}
        victims = [*before] * ((ROUNDS + 1) // 2)
        chance.shuffle(victims)
        for kill in victims[:ROUNDS]:
            ids = [asked(front) for _ in range(DEBATES)]
            watchers = [Watcher(front, debate_id) for debate_id in ids for _ in range(WATCHERS)]
            with ThreadPoolExecutor(len(watchers)) as threads:
                following = [threads.submit(watcher.follow) for watcher in watchers]
                await_events(watchers, chance.randrange(before[kill]))
                kill(chance)
                for one in following:
                    one.result()
            for debate_id in ids:
                whole([watcher for watcher in watchers if watcher.debate_id == debate_id], stored(front, debate_id))
            reconnections += sum(watcher.connections - 1 for watcher in watchers)
        assert app.tracebacks() == []
    print(f"\n{ROUNDS} kills, {ROUNDS * DEBATES} debates, {reconnections} connections resumed")
    assert reconnections > 0
