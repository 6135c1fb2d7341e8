"""Removing very many stored responses: others are served meanwhile, and what waits is bounded."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent
import pytest

from proxy.cache import removal
from proxy.cache.build import Stores
from proxy.cache.index import Purge
from proxy.cache.removal import Removal
from tests.proxy.cache.test_store import files, found, keep, opened, wait_for_files
from tests.waiting import PATIENCE, until

MANY = 2500
"""More than are looked at, or removed, at once."""


class Disk:
    """A disk that removes the files below `root` when the test says so; others are removed as ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.works = threading.Event()
        self.busy = threading.Event()
        unlink = Path.unlink

        def slowly(path: Path, *arguments: Any, **options: Any) -> None:
            if path.is_relative_to(root) and "objects" in path.parts:
                self.busy.set()
                assert self.works.wait(PATIENCE)
            unlink(path, *arguments, **options)

        monkeypatch.setattr(Path, "unlink", slowly)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Disk]:
    made = Disk(monkeypatch, tmp_path)
    yield made
    made.works.set()


@pytest.mark.parametrize(
    ("which", "value"), [(Purge.URL, "/a"), (Purge.PREFIX, "/"), (Purge.TAG, "red"), (Purge.ALL, "")], ids=str
)
def test_others_are_served_while_a_purge_waits_for_the_disk(
    tmp_path: Path, disk: Disk, which: Purge, value: str
) -> None:
    store = opened(tmp_path)
    keep(store, "a", b"x", url="http://a/a", tags=" red ")
    purge = gevent.spawn(store.purge, which, value)
    until(disk.busy.is_set, "the disk is asked", pause=gevent.sleep)
    assert found(store, "a") is None
    keep(store, "A", b"y", url="http://a/A")  # the purge has passed its place
    assert found(store, "A") == b"y"
    assert not purge.ready()
    disk.works.set()
    assert purge.get(timeout=PATIENCE) == 1
    wait_for_files(tmp_path, 1)


def test_nothing_else_waits_for_files_to_be_removed(tmp_path: Path, disk: Disk) -> None:
    """Whatever makes them useless: a newer response, bounds, a write, an upload that breaks off."""
    store = opened(tmp_path, most_entries=3)
    for name in ("a", "a", "b", "c", "d"):
        keep(store, name, b"x")
    store.invalidate(b"http://a/d")
    incoming = store.incoming()
    assert incoming is not None
    store.drop(incoming)
    assert len(files(tmp_path)) == 6
    disk.works.set()
    wait_for_files(tmp_path, store.index.totals().entries)


def test_purge_of_many_lets_others_go_on(tmp_path: Path) -> None:
    store = opened(tmp_path, most_entries=MANY)
    for number in range(MANY):
        keep(store, f"{number}", b"", url=f"http://a/{number}")
    turns = 0

    def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(1e-6)  # a turn of the loop: how many there are meanwhile is what is tested

    other = gevent.spawn(count)
    try:
        assert store.purge(Purge.PREFIX, "/1") == 1111
    finally:
        other.kill()
    assert turns > 2
    assert store.index.totals().entries == MANY - 1111 == len(files(tmp_path))
    assert store.purge(Purge.ALL, "") == MANY - 1111
    assert files(tmp_path) == []


def test_purge_ends_when_its_caller_does_not_wait(tmp_path: Path, disk: Disk) -> None:
    store = opened(tmp_path)
    keep(store, "a", b"x")
    purge = gevent.spawn(store.purge, Purge.ALL, "")
    until(disk.busy.is_set, "the disk is asked", pause=gevent.sleep)
    purge.kill()
    disk.works.set()
    wait_for_files(tmp_path, 0)


def test_smaller_bounds_hold_soon_after_a_reload(tmp_path: Path) -> None:
    store = opened(tmp_path, most_entries=MANY)
    for number in range(700):
        keep(store, f"{number}", b"", used=1000.0 + number)
    smaller = opened(tmp_path, most_entries=20)
    smaller.sweep()
    until(lambda: smaller.index.totals().entries <= 20, "the bounds hold", pause=gevent.sleep)
    wait_for_files(tmp_path, smaller.index.totals().entries)
    assert found(smaller, "699") == b""


def test_what_waits_to_be_removed_is_bounded(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_MOST_WAITING", 10)
    monkeypatch.setattr(removal, "_AT_ONCE", 5)
    directory = tmp_path / "objects"
    directory.mkdir()
    doomed = [directory / str(number) for number in range(50)]
    for file in doomed:
        file.touch()
    removing = Removal()
    removing.add(doomed)
    until(disk.busy.is_set, "the disk is asked", pause=gevent.sleep)
    removing.wait(0.01)  # no longer than that, whatever the disk does
    removing.add(doomed)
    disk.works.set()
    removing.wait(PATIENCE)
    assert [file.exists() for file in doomed].count(False) == 10


def test_file_that_cannot_be_removed_keeps_no_other(tmp_path: Path) -> None:
    directory, file = tmp_path / "directory", tmp_path / "file"
    directory.mkdir()
    file.touch()
    removing = Removal()
    removing.add([directory, tmp_path / "missing", file])
    removing.wait(PATIENCE)
    assert (directory.exists(), file.exists()) == (True, False)


def test_a_purge_that_one_store_refuses_is_no_success(tmp_path: Path) -> None:
    stores = Stores()
    for name in ("one", "two"):
        keep(stores.at(tmp_path / name, 1 << 30, MANY), "a", b"x")
    with closing(sqlite3.connect(tmp_path / "two" / "index.sqlite")) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert stores.purge(Purge.ALL, "") is None
        database.execute("ROLLBACK")
    assert stores.purge(Purge.ALL, "") == 1
