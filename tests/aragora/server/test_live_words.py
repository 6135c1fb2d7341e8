"""What agents say reaches every watcher of the machine, whichever worker serves it."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from websocket import WebSocketException

from tests.aragora.server.servers import PATIENCE, Server, running
from tests.waiting import until

WATCHERS = 8
MOST_DEBATES = 5
PROSE = ("propose", "revise")

Message = dict[str, Any]


def over_websocket(server: Server, debate_id: str) -> list[Message]:
    """Everything about the debate to its end."""
    found = []
    with server.greeted() as client:
        client.send(type="subscribe", debate_id=debate_id, replay_from_seq=0)
        while not found or found[-1]["type"] != "debate_end":
            found.append(client.receive())
    return found


def over_events(server: Server, debate_id: str) -> list[Message]:
    """The same, by server-sent events."""
    with requests.get(
        f"{server.base}/api/debates/{debate_id}/events",
        headers={"Accept": "text/event-stream"},
        stream=True,
        timeout=PATIENCE,
    ) as response:
        lines = list(response.iter_lines())
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


def check(messages: list[Message]) -> None:
    """Every word of every answer has come, before the event that has it whole; no event is missing."""
    spoken: dict[tuple[str, int], dict[str, str]] = {}
    compared = 0
    for message in messages:
        data = message["data"]
        if message["type"] == "token_delta" and data["purpose"] in PROSE:
            answers = spoken.setdefault((data["agent"], data["round"]), {})
            text = answers.setdefault(data["answer"], "")
            assert data["offset"] == len(text)
            answers[data["answer"]] = text + data["text"]
        if message["type"] == "agent_message":
            assert data["content"] in spoken[message["agent"], message["round"]].values()
            compared += 1
    assert compared == 6
    seqs = [message["seq"] for message in messages if "seq" in message]
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize(("kind", "workers"), [("gunicorn", 4), ("uvicorn-workers", 3)])
def test_every_watcher_hears_every_word_in_every_worker(kind: str, workers: int, tmp_path: Path) -> None:
    with (
        running(kind, tmp_path, ARAGORA_WORKLOAD="4", ARAGORA_DEMO_DELAY="1") as server,
        ThreadPoolExecutor(WATCHERS) as threads,
    ):
        until(lambda: server.metric("aragora_workers ") == workers)
        served_by: set[str] = set()
        for _ in range(MOST_DEBATES):
            debate_id = server.ask(rounds=1, early_stop=False)
            # All come while the first answers are being given.
            ways = [over_websocket, over_events] * (WATCHERS // 2)
            watching = [threads.submit(way, server, debate_id) for way in ways]
            for watcher in watching:
                check(watcher.result())
            served_by |= set(
                re.findall(r"\[(\d+)\] \[INFO\] aragora.server.websocket: websocket", server.log.read_text())
            )
            if len(served_by) > 1:  # it is the kernel that chooses who accepts a connection
                break
    assert len(served_by) > 1


def test_dead_worker_takes_nothing_from_others_watchers(tmp_path: Path) -> None:
    environ = {"ARAGORA_WORKLOAD": "3", "ARAGORA_DEMO_DELAY": "2", "ARAGORA_LEASE_TTL": "1"}

    def watch(server: Server, debate_id: str) -> list[Message]:
        try:
            return over_websocket(server, debate_id)
        except (OSError, WebSocketException):
            return []

    with running("gunicorn", tmp_path, **environ) as server, ThreadPoolExecutor(WATCHERS) as threads:
        until(lambda: server.metric("aragora_workers ") == 3)
        first = server.workers()
        debate_id = server.ask(rounds=1, early_stop=False)
        watching = [threads.submit(watch, server, debate_id) for _ in range(WATCHERS)]
        until(lambda: server.metric("aragora_websocket_connections ") == WATCHERS)
        server.http.close()
        # Two of three: perhaps the one that carries on the debate, and perhaps not the one that serves a watcher.
        for victim in first[:2]:
            os.kill(victim, signal.SIGKILL)
        survived = [messages for watcher in watching if (messages := watcher.result())]
        for messages in survived:
            check(messages)
        server.await_ready()
        assert server.get(f"/api/debates/{debate_id}").json()["status"] == "completed"
        # Those that came after the deaths see the same.
        assert over_websocket(server, debate_id)[-1]["type"] == "debate_end"
