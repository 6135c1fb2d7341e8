"""What is on disk: damage and a full disk cost misses, and the bounds hold."""

import errno
import os
import shutil
from collections.abc import Callable
from math import inf
from pathlib import Path
from time import monotonic

import gevent
import pytest

from proxy.cache.index import Entry, Purge, Resource
from proxy.cache.store import Store
from tests.waiting import until

NOW = 1000.0


def keep(
    store: Store, name: str, body: bytes, used: float = NOW, url: str = "", tags: str = " ", asked: float = inf
) -> Entry | None:
    incoming = store.incoming()
    if incoming is None:
        return None
    incoming.write(body)
    incoming.close()
    key = name.encode()
    address = url.encode() or b"http://a/" + key
    entry = Entry(
        key, key, address, "default", 200, b"X-A: b", incoming.name, incoming.size, incoming.checksum,
        used, 0.0, 60.0, 0.0, 0.0, used, tags,
    )  # fmt: skip
    store.put(entry, asked)
    return entry


def found(store: Store, name: str) -> bytes | None:
    entry = store.index.entry(name.encode())
    body = None if entry is None else store.body(entry)
    if isinstance(body, int):
        assert entry is not None
        read = os.pread(body, entry.size, 0)
        os.close(body)
        return read
    return body


def files(directory: Path) -> list[Path]:
    return [file for file in (directory / "objects").rglob("*") if file.is_file()]


def wait_for_files(directory: Path, count: int) -> None:
    """What no entry has any more is removed in a thread."""
    until(lambda: len(files(directory)) == count, f"{count} files are left", pause=gevent.sleep)


def opened(directory: Path, most_bytes: int = 1 << 30, most_entries: int = 1000) -> Store:
    """A store as another worker, or the same one after a restart, sees it."""
    return Store(directory, most_bytes, most_entries)


@pytest.mark.parametrize("size", [0, 100, 100_000])
def test_other_workers_and_restarts_find_it(tmp_path: Path, size: int) -> None:
    keep(opened(tmp_path), "a", b"x" * size)
    again = opened(tmp_path)
    assert found(again, "a") == b"x" * size
    entry = again.index.entry(b"a")
    assert entry is not None
    assert (entry.lines, entry.lifetime, again.index.totals()) == (b"X-A: b", 60.0, (size, 1))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "changed": lambda data: b"y" + data[1:],
    "shorter": lambda data: data[:-1],
    "longer": lambda data: data + b"x",
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_body_is_a_miss(tmp_path: Path, damage: str, size: int) -> None:
    store = opened(tmp_path)
    keep(store, "a", b"x" * size)
    if size > 1000:
        assert found(store, "a")  # it is compared once more when its file has changed
    (file,) = files(tmp_path)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert found(store, "a") is None
    assert store.index.entry(b"a") is None
    wait_for_files(tmp_path, 0)
    keep(store, "a", b"good")
    assert found(store, "a") == b"good"


def test_body_that_is_gone_or_no_file_is_a_miss(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for name in ("a", "b"):
        keep(store, name, name.encode())
    first, second = files(tmp_path)
    first.unlink()
    second.unlink()
    second.symlink_to("/etc/passwd")
    assert [found(store, name) for name in ("a", "b")] == [None, None]


@pytest.mark.parametrize("content", [b"", b"no database" * 1000, None])
def test_damaged_index_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    store = opened(tmp_path)
    keep(store, "a", b"x")
    for file in tmp_path.glob("index.sqlite*"):
        if content is None:
            file.unlink()
        elif not file.name.endswith("-shm"):  # which the library maps: without its bytes the process would end
            file.write_bytes(content)
    for one in (store, opened(tmp_path)):
        for _ in range(5):  # perhaps lost, with the damage
            keep(one, "b", b"y")
        assert found(one, "b") == b"y"


def test_workers_agree_after_the_directory_was_emptied(tmp_path: Path) -> None:
    """One that still had the removed index would serve what the others have purged."""
    first = opened(tmp_path)
    keep(first, "a", b"x")
    for path in tmp_path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    second = opened(tmp_path)
    keep(second, "b", b"y")
    assert (found(first, "a"), found(first, "b")) == (None, b"y")
    assert first.purge(Purge.ALL, "") == 1
    assert found(second, "b") is None


def test_directory_that_cannot_be_made_stores_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = opened(tmp_path / "file" / "cache")
    assert keep(store, "a", b"x") is None
    assert found(store, "a") is None


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    incoming = store.incoming()
    assert incoming is not None

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        incoming.write(b"x")
    store.drop(incoming)
    wait_for_files(tmp_path, 0)


def test_bounds_hold_and_what_was_used_last_stays(tmp_path: Path) -> None:
    store = opened(tmp_path, most_bytes=10_000, most_entries=20)
    for number in range(60):
        keep(store, f"a{number}", b"x" * 100, NOW + number)
        store.index.use(b"a0", NOW + number + 0.5)
    totals = store.index.totals()
    assert totals.entries <= 20
    wait_for_files(tmp_path, totals.entries)
    assert found(store, "a0") == b"x" * 100
    assert found(store, "a59") == b"x" * 100
    for number in range(20):
        keep(store, f"b{number}", b"x" * 1000, NOW + 100 + number)
    assert store.index.totals().bytes <= 10_000


def test_addresses_are_forgotten_with_all_their_responses(tmp_path: Path) -> None:
    store = opened(tmp_path)
    entry = keep(store, "a", b"x")
    assert entry is not None
    store.invalidate(entry.url)
    assert found(store, "a") is None
    wait_for_files(tmp_path, 0)


STORED = {
    "a": ("https://one.example/x", " red "),
    "b": ("https://one.example/x?q=1", " red blue "),
    "c": ("http://two.example/x", " reddish "),
    "d": ("https://two.example/xyz/%25_", " "),
}


@pytest.mark.parametrize(
    ("which", "value", "gone"),
    [
        (Purge.URL, "https://one.example/x", "a"), (Purge.URL, "/x", "ac"), (Purge.URL, "/x?q=1", "b"),
        (Purge.PREFIX, "https://one.example/", "ab"), (Purge.PREFIX, "/x", "abcd"), (Purge.PREFIX, "/xyz/%25_", "d"),
        (Purge.PREFIX, "https://two.example/x%", ""), (Purge.TAG, "red", "ab"), (Purge.TAG, "re", ""),
        (Purge.TAG, "blue", "b"), (Purge.TAG, "%", ""), (Purge.URL, "", ""), (Purge.ALL, "", "abcd"),
    ],
)  # fmt: skip
def test_purge_removes_what_is_meant(tmp_path: Path, which: Purge, value: str, gone: str) -> None:
    store = opened(tmp_path)
    for name, (url, tags) in STORED.items():
        keep(store, name, b"x", url=url, tags=tags)
    assert opened(tmp_path).purge(which, value) == len(gone)
    assert {name for name in STORED if found(store, name) is None} == set(gone)
    assert store.index.totals().entries == 4 - len(gone)


def test_purge_keeps_out_what_was_asked_for_before(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.purge(Purge.URL, "http://a/other") == 0
    keep(store, "a", b"old", asked=monotonic() - 1)
    assert found(store, "a") is None
    wait_for_files(tmp_path, 0)
    keep(store, "a", b"new", asked=monotonic() + 1)
    assert found(store, "a") == b"new"


def test_purge_before_a_restart_of_the_machine_keeps_nothing_out(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert list(store.index.purge(Purge.ALL, "", monotonic() + 3600)) == [[]]
    keep(store, "a", b"new", asked=monotonic())
    assert found(store, "a") == b"new"


def test_files_without_an_entry_are_found(tmp_path: Path) -> None:
    store = opened(tmp_path)
    keep(store, "a", b"x")
    (used,) = files(tmp_path)
    lost = used.with_name("lost")
    lost.write_bytes(b"")
    young = used.with_name("young")
    young.write_bytes(b"")
    for file in (used, lost):
        os.utime(file, (1, 1))
    assert store.unused() == ["lost"]


def test_what_is_known_of_resources_is_bounded(tmp_path: Path) -> None:
    """Also where nothing is ever stored: each address that a client makes up is a resource of its own."""
    index = opened(tmp_path, most_entries=20).index
    for number in range(60):
        index.learn(b"%d" % number, Resource(frozenset({b"cookie"}), until=NOW + number))
        index.learn(b"first", Resource(until=NOW + 100 + number))
    assert index.resource(b"first") == Resource(until=NOW + 159)
    assert [index.resource(b"%d" % number) is not None for number in (0, 40, 41, 59)] == [False, False, True, True]
