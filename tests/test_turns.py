"""The turns of the processes that run the tests."""

import fcntl
import os
import threading
from pathlib import Path

from tests.turns import turn
from tests.waiting import until


def test_who_is_alone_waits_for_others_and_is_not_overtaken(tmp_path: Path) -> None:
    order: list[str] = []

    def take(name: str, *, alone: bool) -> None:
        with turn(tmp_path, alone=alone):
            order.append(name)

    names = ("alone", "other")
    later = [threading.Thread(target=take, args=(name,), kwargs={"alone": name == "alone"}) for name in names]
    with turn(tmp_path, alone=False):
        take("beside", alone=False)
        later[0].start()
        until_kept(tmp_path / "gate")
        later[1].start()
        order.append("first ends")
    for thread in later:
        thread.join(20)
    assert order == ["beside", "first ends", "alone", "other"]


def until_kept(gate: Path) -> None:
    """Return once somebody keeps the gate."""
    descriptor = os.open(gate, os.O_RDWR)

    def kept() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return False

    try:
        until(kept, "a test that waits to be alone")
    finally:
        os.close(descriptor)
