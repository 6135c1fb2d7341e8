"""Commands that two workers carry out at the same moment: each depends on what the other has changed."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy.admin import overrides
from proxy.admin.commands import Commands
from proxy.admin.overrides import OverrideRecord, Overrides
from proxy.observe.metrics import Board
from proxy.observe.reports import Reports
from proxy.settings import Address, Peer, RouteSettings, Settings
from tests.waiting import PATIENCE

ONE, TWO, THREE = "127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"


def peers(*addresses: str) -> tuple[Peer, ...]:
    return tuple(Peer(Address.parse(address)) for address in addresses)


SETTINGS = Settings(
    upstream=peers(THREE),
    workers=1,
    routes=(
        RouteSettings("api", (), "/v1/", False, Settings(upstream=peers(ONE, TWO), workers=1)),
        RouteSettings("web", (), "/web/", False, Settings(upstream=peers(ONE, THREE), workers=1)),
    ),
)


class ContestedRecord(OverrideRecord):
    """The record, with a call right before each change: until then a command may have looked at it as often as it
    likes."""

    def __init__(self, before: Callable[[], object]) -> None:
        super().__init__()
        self.before = before

    def change(
        self, transition: Callable[[Overrides], Overrides], keep: Callable[[Overrides], None] | None = None
    ) -> Overrides:
        self.before()
        return super().change(transition, keep)


def order(book: OverrideRecord, command: str, **given: Any) -> int:
    """A command that a worker carries out; its status."""

    def never(*_arguments: object) -> Any:
        raise AssertionError("nothing is probed or purged here")

    commands = Commands(Board(), book, lambda: SETTINGS, never, never, Reports())
    return commands.carry_out(command, json.dumps(given).encode()).status


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("routes", [("api", "api"), ("api", "*"), ("*", "*")], ids=" and ".join)
def test_two_processes_never_drain_the_last_peer(monkeypatch: pytest.MonkeyPatch, routes: tuple[str, str]) -> None:
    monkeypatch.setattr(overrides, "_PATIENCE", PATIENCE)
    barrier = multiprocessing.get_context("fork").Barrier(2)
    book = ContestedRecord(lambda: barrier.wait(PATIENCE))
    children = []
    for peer, route in zip((ONE, TWO), routes, strict=True):
        child = os.fork()
        if not child:
            status = 0
            try:
                status = order(book, "drain", peer=peer, route=route)
            finally:
                os._exit({200: 1, 409: 2}.get(status, 3))
        children.append(child)
    ends = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert ends == [1, 2]
    assert [book.get().is_drained("api", peer) for peer in (ONE, TWO)].count(True) == 1


def test_force_still_drains_the_last_peer() -> None:
    book = OverrideRecord()
    assert order(book, "drain", peer=ONE, route="api") == 200
    assert order(book, "drain", peer=TWO, route="api") == 409
    assert order(book, "drain", peer=TWO, route="api", force=True) == 200


SWITCH = {"route": "api", "upstream": ["127.0.0.1:9000"]}
RACES: dict[str, tuple[str, dict[str, Any], Callable[[Overrides], Overrides], int]] = {
    "drain of a peer that a switch took away": (
        "drain", {"peer": ONE, "route": "api"}, lambda now: now.switch("api", (ONE, TWO), (TWO,)), 404,
    ),
    "drain of the peer that a switch left": (
        "drain", {"peer": TWO, "route": "api"}, lambda now: now.switch("api", (ONE, TWO), (TWO,)), 409,
    ),
    "undrain of what another has ended": (
        "undrain", {"peer": "127.0.0.1:7"}, lambda now: now.undrain("127.0.0.1:7"), 404,
    ),
    "end of maintenance that became one of all": (
        "maintenance", {"on": False, "route": "api"}, lambda now: now.maintain(on=True), 409,
    ),
    "replacement of a peer that a switch took away": (
        "switch", {"peer": TWO, "upstream": ["127.0.0.1:9000"]}, lambda now: now.switch("api", (ONE, TWO), (ONE,)), 404,
    ),
    "end of a pause that another has ended": ("resume", {"route": "api"}, lambda now: now.resume("api"), 409),
}  # fmt: skip
"""A command, its arguments, what another worker changes before it does, and its status."""


@pytest.mark.parametrize("race", RACES)
def test_command_sees_the_change_before_its_own(race: str) -> None:
    command, given, other, status = RACES[race]
    book = ContestedRecord(lambda: None)
    OverrideRecord.change(book, lambda now: now.drain("127.0.0.1:7").hold("api", 9.0))
    if command == "maintenance":
        OverrideRecord.change(book, lambda now: now.maintain(on=True, route="api"))
    book.before = lambda: OverrideRecord.change(book, other)
    assert order(book, command, **given) == status


def test_replacement_keeps_what_another_switch_has_brought() -> None:
    book = ContestedRecord(lambda: None)
    new = "127.0.0.1:9000"
    book.before = lambda: OverrideRecord.change(book, lambda now: now.switch("api", (ONE, TWO), (ONE, THREE)))
    assert order(book, "switch", peer=ONE, upstream=[new]) == 200
    assert book.get().upstreams("api", (ONE, TWO)) == (new, THREE)
