"""How many questions a provider is asked at once: in one process, and by all processes of the machine."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from aragora.agents.gate import Gate
from aragora.agents.register import MINUTE, Limits, Register, Table
from tests.waiting import until

LONG = 20.0


class Left(Exception):  # noqa: N818  as an abandoned debate
    pass


def nobody(place: int) -> None:
    pass


class Guest(threading.Thread):
    """Goes through a gate and stays inside until it is told to leave."""

    def __init__(self, gate: Gate, tokens: int = 0) -> None:
        super().__init__(daemon=True)
        self._gate, self._tokens = gate, tokens
        self.places: list[int] = []
        self.inside, self.done, self.leave = threading.Event(), threading.Event(), threading.Event()
        self.abandoned = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            with self._gate.entry(self._tokens, self._wait):
                self.inside.set()
                assert self.leave.wait(LONG)
        except Left:
            pass
        self.done.set()

    def _wait(self, place: int) -> None:
        self.places.append(place)
        if self.abandoned.is_set():
            raise Left


def waits(guest: Guest, place: int) -> None:
    until(lambda: guest.places[-1:] == [place])


def test_one_at_a_time_and_in_the_order_they_came() -> None:
    gate = Gate(Limits(concurrency=1))
    guests = []
    for place in range(4):
        guests.append(Guest(gate))
        if place:
            waits(guests[-1], place)
        else:
            assert guests[0].inside.wait(LONG)
    for number, guest in enumerate(guests):
        assert guest.inside.wait(LONG)
        assert not any(later.inside.is_set() for later in guests[number + 1 :])
        guest.leave.set()
        assert guest.done.wait(LONG)


def test_whoever_waits_is_told_its_place_as_the_line_moves() -> None:
    gate = Gate(Limits(concurrency=1))
    first, second, third = (Guest(gate) for _ in range(3))
    assert first.inside.wait(LONG)
    first.leave.set()
    assert second.inside.wait(LONG) or third.inside.wait(LONG)
    last = third if second.inside.is_set() else second
    waits(last, 1)
    for guest in (second, third):
        guest.leave.set()
    assert last.inside.wait(LONG)


def test_whoever_gives_up_leaves_the_line() -> None:
    gate = Gate(Limits(concurrency=1))
    first = Guest(gate)
    assert first.inside.wait(LONG)
    second = Guest(gate)
    waits(second, 1)
    third = Guest(gate)
    waits(third, 2)
    second.abandoned.set()
    assert second.done.wait(LONG)
    waits(third, 1)
    first.leave.set()
    assert third.inside.wait(LONG)
    third.leave.set()


def test_a_failure_inside_gives_the_place_back() -> None:
    gate = Gate(Limits(concurrency=1))
    with pytest.raises(ZeroDivisionError), gate.entry(0, nobody):
        _ = 1 / 0
    with gate.entry(0, nobody):
        pass


def test_no_limit_lets_everybody_in() -> None:
    gate = Gate(Limits())
    guests = [Guest(gate) for _ in range(20)]
    assert all(guest.inside.wait(LONG) for guest in guests)
    for guest in guests:
        guest.leave.set()


class Minute:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def passes(gate: Gate, tokens: int = 0, took: int | None = None) -> bool:
    """Whether a question goes through at once."""

    def give_up(place: int) -> None:
        raise Left

    try:
        with gate.entry(tokens, give_up) as entry:
            entry.tokens = tokens if took is None else took
    except Left:
        return False
    return True


def test_questions_of_any_minute_are_counted() -> None:
    clock = Minute()
    gate = Gate(Limits(requests=2), clock=clock)
    assert passes(gate)
    clock.now += 50
    assert passes(gate)
    assert not passes(gate)
    clock.now += 10
    assert passes(gate), "the first question is a minute old"
    assert not passes(gate)
    clock.now += MINUTE
    assert passes(gate)


def test_tokens_count_as_they_were_really_taken() -> None:
    clock = Minute()
    gate = Gate(Limits(tokens=1000), clock=clock)
    assert passes(gate, 800, took=300)
    assert passes(gate, 700)
    assert not passes(gate, 100)
    clock.now += MINUTE
    assert passes(gate, 5000), "more than a minute has goes alone"
    assert not passes(gate, 1)


def test_a_clock_that_was_set_back_stops_nobody() -> None:
    clock = Minute()
    gate = Gate(Limits(requests=1), clock=clock)
    assert passes(gate)
    clock.now -= 10 * MINUTE
    assert passes(gate)


@pytest.mark.parametrize("text", [b"", b"{}", b"[1", b"[1,[[1]],[]]", b'["x",[],[]]', b"[" * 100_000, b"\xff\x00"])
def test_a_broken_register_begins_anew(text: bytes, tmp_path: Path) -> None:
    assert Table.load(text) == Table()
    path = tmp_path / "gate.json"
    path.write_bytes(text)
    with Gate(Limits(concurrency=1), Register(path)).entry(0, nobody):
        assert Table.load(path.read_bytes()).tickets[0].admitted


def test_a_register_that_begins_anew_loses_nobody(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    gate = Gate(Limits(concurrency=1), Register(path))
    first = Guest(gate)
    assert first.inside.wait(LONG)
    second = Guest(gate)
    waits(second, 1)
    path.write_bytes(b"")
    assert second.inside.wait(LONG), "what the file forgot cannot hold anybody up"
    for guest in (first, second):
        guest.leave.set()
        assert guest.done.wait(LONG)


def test_without_a_directory_each_process_has_its_own_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no directory")
    gate = Gate(Limits(concurrency=1), Register(tmp_path / "file" / "gate.json"))
    first = Guest(gate)
    assert first.inside.wait(LONG)
    second = Guest(gate)
    waits(second, 1)
    first.leave.set()
    assert second.inside.wait(LONG)
    second.leave.set()
    assert "each process on its own" in caplog.text


OTHER = """
import sys, threading
from pathlib import Path
from aragora.agents.gate import Gate
from aragora.agents.register import Limits, Register
gate = Gate(Limits(concurrency=1), Register(Path(sys.argv[1])))
told = []
def wait(place):
    if place not in told:
        told.append(place); print("place", place, flush=True)
with gate.entry(0, wait):
    print("inside", flush=True)
    sys.stdin.readline()
print("left", flush=True)
"""


@pytest.fixture
def other(tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """Starts another process that goes through the same gate."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", OTHER, str(tmp_path / "gate.json")]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_processes_of_the_machine_stand_in_one_line(tmp_path: Path, other: Callable) -> None:
    gate = Gate(Limits(concurrency=1), Register(tmp_path / "gate.json"))
    here = Guest(gate)
    assert here.inside.wait(LONG)
    second = other()
    assert second.stdout.readline() == "place 1\n"
    third = Guest(gate)
    waits(third, 2)
    fourth = other()
    assert fourth.stdout.readline() == "place 3\n"
    here.leave.set()
    assert second.stdout.readline() == "inside\n"
    waits(third, 1)
    second.communicate("\n")
    assert third.inside.wait(LONG)
    third.leave.set()
    assert "inside" in fourth.communicate("\n")[0]


def test_a_killed_process_gives_its_place_back(tmp_path: Path, other: Callable) -> None:
    inside, waiting = other(), other()
    lines = {inside.stdout.readline(), waiting.stdout.readline()}
    assert lines == {"inside\n", "place 1\n"}
    here = Guest(Gate(Limits(concurrency=1), Register(tmp_path / "gate.json")))
    waits(here, 2)
    for process in (inside, waiting):
        process.kill()
        process.wait()
    assert here.inside.wait(LONG)
    here.leave.set()
