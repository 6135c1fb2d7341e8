"""Both processes together, as in production: one debate over HTTP and WebSocket, wrong input, and their end."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from tests.deployment.processes import CHECKOUT, Running, application, gateway, get
from tests.waiting import until

QUESTION = {"question": "Should we adopt event sourcing?", "agents": ["demo", "demo", "demo"], "rounds": 2}


class Pair:
    """The running processes and the port that clients use."""

    def __init__(self, front: int, running: tuple[Running, Running]) -> None:
        self.front = front
        self.running = running

    def alive(self) -> bool:
        """Both supervisors run, neither has lost a worker, and a request passes through both."""
        standing = all(part.process.poll() is None for part in self.running)
        return standing and "SIGKILL" not in self.running[0].output() and get(self.front, "/ready").status_code == 200


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("pair")
    with application(directory) as (app, http, _ws), gateway(directory, http) as (front, port):
        yield Pair(port, (app, front))


def connected(port: int) -> websocket.WebSocket:
    return websocket.create_connection(f"ws://127.0.0.1:{port}/ws", timeout=20, http_no_proxy=["127.0.0.1"])


def closed(channel: websocket.WebSocket) -> None:
    """Say goodbye and let go of the socket, which `close` alone keeps when the other side spoke first."""
    channel.close()
    channel.shutdown()


def events(port: int, debate_id: str, since: int = 0) -> list[dict[str, Any]]:
    """What the WebSocket gives of one debate after a number, to its end; sent away (1001), it comes back."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] != "debate_end":
        last = found[-1]["seq"] if found else since
        channel = connected(port)
        try:
            channel.send(json.dumps({"type": "subscribe", "debate_id": debate_id, "replay_from_seq": last}))
            found += numbered(channel)
        finally:
            closed(channel)
    return found


def numbered(channel: websocket.WebSocket) -> Iterator[dict[str, Any]]:
    """The events of one connection, until the debate's end or the connection's."""
    while text := channel.recv():
        message = json.loads(text)
        assert message["type"] != "error", message
        if message.get("seq") is not None:
            yield message
        if message["type"] == "debate_end":
            return


def test_a_debate_passes_through_every_layer_and_back(pair: Pair) -> None:
    created = get(pair.front, "/api/debates", method="POST", json=QUESTION)
    assert created.status_code == 202
    assert created.json()["success"] is True
    debate_id = created.json()["debate_id"]

    live = events(pair.front, debate_id)
    replayed = events(pair.front, debate_id)
    assert [event["seq"] for event in live] == list(range(1, len(live) + 1))
    assert replayed == live

    found = [get(pair.front, f"/api/debates/{debate_id}").json() for _ in range(6)]  # whichever worker is asked
    assert found[1:] == found[:-1]
    result = found[0]
    assert (result["status"], result["in_progress"]) == ("completed", False)
    assert result["consensus_reached"] is True
    assert result["final_answer"]
    polled = get(pair.front, f"/api/debates/{debate_id}/events?limit=500").json()
    assert [event["seq"] for event in polled["events"]] == [event["seq"] for event in live]
    assert debate_id in [debate["id"] for debate in get(pair.front, "/api/debates").json()["debates"]]
    assert get(pair.front, f"/api/debates/{debate_id}/messages").json()["messages"]


def test_a_debate_can_be_cancelled_through_the_gateway(pair: Pair) -> None:
    created = get(pair.front, "/api/debates", method="POST", json=QUESTION | {"rounds": 10, "early_stop": False}).json()
    answer = get(pair.front, f"/api/debates/{created['debate_id']}/cancel", method="POST")
    assert answer.status_code in {200, 202, 409}  # 409: the demo agents were faster
    if answer.ok:
        end = events(pair.front, created["debate_id"])[-1]
        assert end["data"]["status"] == "cancelled"


def test_longest_accepted_target_reaches_the_application(pair: Pair) -> None:
    longest = "/healthz?" + "a" * (8190 - len("GET /healthz? HTTP/1.1"))
    assert get(pair.front, longest).status_code == 200
    beyond = get(pair.front, longest + "a")
    assert beyond.status_code == 414
    assert "max_request_line" in beyond.text


def refused(answer: requests.Response, status: int, *said: str) -> None:
    """The one error shape, with each of these words in it."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) >= {"code", "message", "trace_id"}
    assert error["trace_id"] == answer.headers["X-Request-ID"]
    assert "Traceback" not in answer.text
    for word in said:
        assert word in answer.text


def test_json_that_is_none_is_refused(pair: Pair) -> None:
    headers = {"Content-Type": "application/json"}
    refused(get(pair.front, "/api/debates", method="POST", data=b'{"question": ', headers=headers), 400)
    assert pair.alive()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agents": ["demo", "oracle"]}, "oracle"),
        ({"agents": ["demo"] * 11}, "agents"),
        ({"question": "Why?"}, "question"),
        ({"rounds": 0}, "rounds"),
        ({"question": None}, "question"),
    ],
)
def test_a_field_that_does_not_fit_is_named(pair: Pair, change: dict[str, Any], said: str) -> None:
    refused(get(pair.front, "/api/debates", method="POST", json=QUESTION | change), 400, said)
    assert pair.alive()


def test_an_unknown_debate_is_not_found(pair: Pair) -> None:
    refused(get(pair.front, "/api/debates/adhoc_nothing"), 404)
    refused(get(pair.front, "/api/nothing"), 404)
    refused(get(pair.front, "/api/debates", method="PUT"), 405)
    assert pair.alive()


def test_refusal_of_a_60_megabyte_body_arrives(pair: Pair) -> None:
    answer = get(pair.front, "/api/debates", method="POST", data=bytes(60 << 20))
    assert answer.status_code == 413
    assert answer.headers["X-Request-ID"]
    assert len(answer.text) < 1000
    assert pair.alive()


def test_body_limit_of_the_application_is_enforced(pair: Pair) -> None:
    refused(get(pair.front, "/api/debates", method="POST", json=QUESTION | {"context": "x" * (2 << 20)}), 413)
    assert pair.alive()


def test_a_websocket_that_speaks_no_json_is_told_so(pair: Pair) -> None:
    channel = connected(pair.front)
    try:
        channel.send("not json")
        until(lambda: json.loads(channel.recv())["type"] == "error", "an error message")
    finally:
        closed(channel)
    assert pair.alive()


@pytest.mark.parametrize("flag", ["--no-such-flag", "--workers=many", "--upstream=nowhere"])
def test_a_bad_flag_of_the_gateway_gets_one_line_and_exit_code_2(flag: str) -> None:
    command = [sys.executable, "-m", "proxy", "--upstream", "127.0.0.1:1", flag]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert flag.partition("=")[0] in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_request_id_and_trace_are_in_response_and_both_logs(pair: Pair) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = get(pair.front, "/healthz", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    identity = answer.headers["X-Request-ID"]
    for part in pair.running[:2]:
        until(lambda part=part: identity in part.output(), "the log line")
        line = next(line for line in part.output().splitlines() if identity in line)
        assert trace in line, "and the trace beside it"


@pytest.mark.parametrize("first", ["gateway", "application"])
def test_term_drains_either_and_nothing_stays(tmp_path: Path, first: str) -> None:
    with application(tmp_path) as (app, http, _ws), gateway(tmp_path, http) as (front, port):
        debate_id = get(port, "/api/debates", method="POST", json=QUESTION).json()["debate_id"]
        channel = connected(port)
        channel.send(json.dumps({"type": "subscribe", "debate_id": debate_id}))
        for part in (front, app) if first == "gateway" else (app, front):
            part.signal(signal.SIGTERM)
            assert part.ended() == 0, part.output()
            assert not part.left_behind()
        closed(channel)
    assert not re.search("Traceback|CRITICAL|graceful timeout", app.output() + front.output())


def test_watchers_do_not_hold_a_drain_up(tmp_path: Path) -> None:
    with application(tmp_path, ARAGORA_GRACEFUL_TIMEOUT="30") as (app, _http, ws):
        channel = connected(ws)
        try:
            until(lambda: json.loads(channel.recv())["type"] == "connection_info", "the greeting")
            app.signal(signal.SIGTERM)
            frame = channel.recv_frame()
            while frame.opcode != websocket.ABNF.OPCODE_CLOSE:
                frame = channel.recv_frame()
            assert int.from_bytes(frame.data[:2]) == 1001
        finally:
            closed(channel)
        assert app.ended(20) == 0  # and not the 30 s of the drain


def test_a_debate_goes_on_after_its_workers_were_replaced(tmp_path: Path) -> None:
    with application(tmp_path) as (app, http, _ws):
        debate_id = get(http, "/api/debates", method="POST", json=QUESTION).json()["debate_id"]
        app.signal(signal.SIGHUP)
        found = events(http, debate_id)
        assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
        assert found[-1]["data"]["status"] == "completed"
