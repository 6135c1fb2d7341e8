"""A directory that several gateways share, in this process: what is newer, what is late, what is gone."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from proxy.acme import shared_store
from proxy.acme.shared_store import SharedStore, StoreLost, synchronise
from proxy.acme.state import Failures, State
from proxy.net.certificates import self_signed
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.measured
SITE = "both.shop.test"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path


def in_greenlet(store: SharedStore, task: Callable[[], object]) -> object:
    return gevent.spawn(store.run, task).get(timeout=PATIENCE)


def test_a_file_system_that_hangs_delays_nothing(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_store, "_PATIENCE", 0.05)
    store, answers = SharedStore(shared, "test"), threading.Event()
    with pytest.raises(StoreLost):
        in_greenlet(store, answers.wait)
    assert store.fault == "no answer within 0 s"
    answers.set()
    until(lambda: in_greenlet(store, lambda: 1) == 1, "it answers")
    assert store.fault == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_lock_that_comes_too_late_is_given_back(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_store, "_PATIENCE", 0.05)
    state, store, answers = State(shared, "https://ca.test/dir"), SharedStore(shared, "test"), threading.Event()
    state.make()
    locked: list[bool] = []

    def late() -> object:
        answers.wait()
        lock = state.acquire("lock")
        locked.append(lock is not None)
        return lock

    def free() -> bool:
        with state.lock("lock") as ours:
            return ours

    with pytest.raises(StoreLost):
        in_greenlet(store, late)
    answers.set()
    until(lambda: bool(locked), "the lock is taken", pause=gevent.sleep)
    until(lambda: in_greenlet(store, free), "it is free")
    assert locked == [True]


def test_an_unmounted_file_system_is_no_empty_one(shared: Path) -> None:
    store = SharedStore(shared, "test")
    assert in_greenlet(store, lambda: 1) == 1
    store.directory = Path("/proc")
    with pytest.raises(StoreLost):
        in_greenlet(store, lambda: 1)
    assert store.fault == "its file system is not mounted"


def test_the_newer_certificate_replaces_the_older(tmp_path: Path) -> None:
    one, other = (State(tmp_path / name, "https://ca.test/dir") for name in ("one", "other"))
    for state, days in ((one, 10), (other, 20)):
        state.make()
        pair = self_signed((SITE,), days)
        state.certificate(SITE).write_bytes(pair.key + pair.chain)
        os.utime(state.certificate(SITE), (days, days))
    newest = other.read(SITE)
    one.note_failures(SITE, Failures(2, 5.0, 1.0))
    for _ in range(2):
        synchronise(one, other, [SITE, "none.test"])
        assert one.read(SITE).chain == other.read(SITE).chain == newest.chain
        assert other.failures(SITE).count == 2
    one.note_failures(SITE, Failures())
    synchronise(one, other, [SITE])
    assert other.failures(SITE).count == 0
    assert sorted(path.name for path in other.root.iterdir()) == [f"{SITE}.pem", "pending"]
