"""The parts that need no server: strict JSON, slots, watchers, texts, the development server's rules."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from falcon import testing
from hypothesis import given
from hypothesis import strategies as st

from aragora import settings
from aragora.debate.events import Event, EventType
from aragora.errors import BadRequest, SettingsError, TooManyRequests, Unavailable
from aragora.server import body, dev, forwarding, process, wsgi
from aragora.server.context import KEY, RequestContext
from aragora.server.slots import Slots
from aragora.server.texts import MAX_MESSAGE_BYTES, Texts
from aragora.server.watchers import Watchers
from tests.aragora.server.servers import CHECKOUT

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(plain)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    assert body.parse(json.dumps(value)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_bad_request(raw: bytes) -> None:
    try:
        body.parse(raw)
    except BadRequest as error:
        assert "\n" not in error.message


def test_depth_is_bounded() -> None:
    assert body.parse("[" * body.MAX_DEPTH + "]" * body.MAX_DEPTH)
    with pytest.raises(BadRequest, match="deeper"):
        body.parse("[" * (body.MAX_DEPTH + 1) + "]" * (body.MAX_DEPTH + 1))


HOLD = """
import pathlib, sys
from aragora.server.slots import Slots
from aragora.server.texts import MAX_MESSAGE_BYTES, Texts
print(Slots(pathlib.Path(sys.argv[1])).number(), flush=True)
sys.stdin.read()
"""


def test_slots_of_dead_processes_are_used_again(tmp_path: Path) -> None:
    mine = Slots(tmp_path)
    assert mine.number() == 0
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    children = [subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=CHECKOUT) for _ in range(2)]
    numbers = [int(child.stdout.readline()) for child in children if child.stdout]
    assert sorted(numbers) == [1, 2]
    victim, number = children[0], numbers[0]
    for name in (f"counter_{number}.db", f"gauge_livesum_{number}.db", "gauge_livesum_0.db"):
        (tmp_path / name).write_bytes(b"")
    victim.kill()
    victim.communicate()
    counted = {Path(name).name for name in mine.files()}
    assert f"counter_{number}.db" in counted
    assert "gauge_livesum_0.db" in counted
    assert f"gauge_livesum_{number}.db" not in counted
    assert Slots(tmp_path).number() == number
    assert not (tmp_path / f"gauge_livesum_{number}.db").exists()
    children[1].communicate()


def test_watchers_are_admitted_woken_and_bounded() -> None:
    watchers = Watchers(limit=1)
    woken = []
    with watchers.admit(lambda: woken.append(1)):
        with pytest.raises(TooManyRequests), watchers.admit(lambda: None):
            pass
        watchers.drain()
    assert woken == [1]
    assert watchers.draining
    assert len(watchers) == 0


@pytest.mark.parametrize("content", ["x" * 200_000, "\N{PILE OF POO}" * 40_000, "\x00" * 30_000, '"' * 60_000])
def test_an_event_always_fits_one_message(content: str) -> None:
    event = Event(7, EventType.AGENT_MESSAGE, 1.5, 2, "demo-1", {"role": "proposer", "content": content})
    message = json.loads(Texts().of("adhoc_1", event))
    assert len(json.dumps(message, separators=(",", ":"))) <= MAX_MESSAGE_BYTES
    assert message["seq"] == 7
    assert message["data"]["truncated"] is True
    assert content.startswith(message["data"]["content"])
    assert message["data"]["content"]


def test_an_event_that_is_cut_keeps_its_shape() -> None:
    """A verdict of ten agents: every member is still there, and short texts are whole."""
    reasons = [
        {"agent": f"agent-{number}", "reasoning": "\N{CJK UNIFIED IDEOGRAPH-6F22}" * 1000} for number in range(10)
    ]
    data = {"answer": "\N{CJK UNIFIED IDEOGRAPH-6F22}" * 12_000, "choice": "agent-3", "share": 0.5, "reasons": reasons}
    found = json.loads(Texts().of("adhoc_1", Event(7, EventType.CONSENSUS, 1.5, 2, None, data)))["data"]
    assert list(found) == [*data, "truncated"]
    assert (found["choice"], found["share"], len(found["reasons"])) == ("agent-3", 0.5, 10)
    assert len(found["answer"]) > 900
    assert {reason["agent"] for reason in found["reasons"]} == {reason["agent"] for reason in reasons}


def test_texts_forget_the_oldest() -> None:
    texts = Texts(limit=1000)
    events = [Event(seq, EventType.VOTE, 0.0, 1, "a", {"reasoning": "x" * 100}) for seq in range(1, 50)]
    made = [texts.of("d", event) for event in events]
    assert texts.of("d", events[-1]) is made[-1]
    assert texts.of("d", events[0]) == made[0]
    assert texts.of("d", events[0]) is not made[0]


def test_the_development_server_stays_on_loopback_in_production() -> None:
    environ = {"ARAGORA_ENV": "production", "ARAGORA_API_TOKEN": "t"}
    with pytest.raises(SettingsError, match="loopback only"):
        dev.listen(settings.load({**environ, "ARAGORA_BIND": "0.0.0.0:0"}))
    with dev.listen(settings.load({**environ, "ARAGORA_BIND": "127.0.0.1:0"})) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
    with dev.listen(settings.load({"ARAGORA_BIND": "0.0.0.0:0"})) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_the_development_server_turns_the_internet_away() -> None:
    with dev.listen(settings.load({"ARAGORA_BIND": "127.0.0.1:0"})) as listener:
        server = dev.Server(listener.dup())
        try:
            for address, expected in (
                ("127.0.0.1", True),
                ("192.168.1.7", True),
                ("fe80::1%eth0", True),
                ("8.8.8.8", False),
                ("2606:4700::1", False),
            ):
                assert server.verify_request(None, (address, 40000)) is expected
        finally:
            server.server_close()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("X-Forwarded-For", "8.8.8.8", True),
        ("X-Forwarded-For", "10.0.0.1, 8.8.8.8", True),
        ("X-Forwarded-For", "8.8.8.8:4711, 127.0.0.1", True),
        ("X-Forwarded-For", "[2606:4700::1]:443", True),
        ("X-Forwarded-For", "::ffff:8.8.8.8", True),
        ("X-Real-IP", "2606:4700::1", True),
        ("Forwarded", 'for="[2606:4700::1]:4711";proto=https', True),
        ("Forwarded", "for=10.0.0.1, FOR=8.8.8.8;by=10.0.0.2", True),
        ("CF-Connecting-IP", "8.8.8.8", True),
        ("True-Client-IP", "8.8.8.8", True),
        ("X-Forwarded-For", "192.168.1.7, 127.0.0.1, ::1", False),
        ("X-Forwarded-For", "unknown, _hidden, fe80::1%eth0", False),
        ("X-Real-IP", "::ffff:192.168.1.7", False),
        ("Forwarded", "for=unknown;host=8.8.8.8.example", False),
        ("User-Agent", "8.8.8.8", False),
    ],
)
def test_clients_that_a_proxy_names(name: str, value: str, expected: bool) -> None:
    environ = {"HTTP_" + name.upper().replace("-", "_"): value}
    assert forwarding.names_global_client(environ) is expected


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}.*another port"):
            dev.listen(settings.load({"ARAGORA_BIND": f"127.0.0.1:{port}"}))


@pytest.mark.parametrize("debug", [False, True])
def test_only_the_development_server_shows_tracebacks(debug: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(process, "current", fail)
    client = testing.TestClient(wsgi.application)
    answer = client.simulate_get("/api/debates", extras={KEY: RequestContext(debug=debug)})
    assert answer.status_code == 500
    assert answer.json["error"]["code"] == "internal_error"
    assert answer.json["error"]["trace_id"] == answer.headers["X-Request-ID"]
    assert ("a secret of the inside" in answer.text) is debug


def test_a_store_that_is_away_is_told_without_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Unavailable("connection to 10.1.2.3 failed")

    monkeypatch.setattr(process, "current", fail)
    client = testing.TestClient(wsgi.application)
    answer = client.simulate_get("/api/debates")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "10.1.2.3" not in answer.text
    ready = client.simulate_get("/ready")
    assert ready.status_code == 503
    assert ready.json["checks"]["store"] == {"ok": False, "detail": "does not answer"}
    assert client.simulate_get("/healthz").status_code == 200
