"""The encoded forms of stored bodies: kept beside them within the same bounds, and gone with them."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from time import time

import gevent
import pytest

from proxy.cache.encoded import Encoded
from proxy.cache.index import Entry, Purge
from proxy.cache.store import Store
from proxy.exchange.local_response import File
from tests.waiting import until

GZIP, BR = b"gzip", b"br"


def kept(store: Store, name: str, body: bytes = b"body", used: float = 0.0) -> Entry:
    incoming = store.incoming()
    assert incoming is not None
    incoming.write(body)
    incoming.close()
    key, now = name.encode(), used or time()
    entry = Entry(
        key, key, b"http://a/" + key, "default", 200, b"X-A: b", incoming.name, incoming.size, incoming.checksum,
        now, 0.0, 60.0, 0.0, 0.0, now, " red ",
    )  # fmt: skip
    store.put(entry)
    return entry


def read(body: bytes | File | None) -> bytes | None:
    if not isinstance(body, File):
        return body
    try:
        return os.pread(body.descriptor, body.length, 0)
    finally:
        body.close()


def files(directory: Path) -> int:
    return sum(file.is_file() for file in (directory / "objects").rglob("*"))


def wait_for_files(store: Store, directory: Path) -> int:
    """As many as there are entries: what none has any more is removed in a thread."""
    entries = store.index.totals().entries
    until(lambda: files(directory) == entries, f"{entries} files are left", seconds=10, pause=gevent.sleep)
    return entries


@pytest.mark.parametrize("size", [10, 100_000])
def test_other_workers_have_it_too(tmp_path: Path, size: int) -> None:
    one, other = Store(tmp_path, 1 << 20, 100), Store(tmp_path, 1 << 20, 100)
    entry = kept(one, "a")
    assert Encoded(one, entry).open(GZIP) is None
    Encoded(one, entry).keep(GZIP, [b"x" * size, b"y"])
    seen = Encoded(other, entry)
    assert seen.ready(GZIP) is None
    assert read(seen.open(GZIP)) == b"x" * size + b"y"
    assert seen.ready(GZIP) == (b"x" * size + b"y" if size < 1000 else None)
    assert seen.open(BR) is None
    totals = other.index.totals()
    assert (totals.entries, totals.bytes) == (2, len(b"body") + size + 1)


def test_a_newer_body_has_none_yet(tmp_path: Path) -> None:
    store = Store(tmp_path, 1 << 20, 100)
    Encoded(store, kept(store, "a")).keep(GZIP, [b"old"])
    newer = kept(store, "a", b"newer")
    assert Encoded(store, newer).open(GZIP) is None
    assert wait_for_files(store, tmp_path) == 1


@pytest.mark.parametrize("which", [(Purge.URL, "/a"), (Purge.PREFIX, "/"), (Purge.TAG, "red"), (Purge.ALL, "")])
def test_they_go_with_their_entry(tmp_path: Path, which: tuple[Purge, str]) -> None:
    store = Store(tmp_path, 1 << 20, 100)
    entry = kept(store, "a")
    for coding in (GZIP, BR):
        Encoded(store, entry).keep(coding, [coding])
    assert store.purge(*which) == 3
    assert wait_for_files(store, tmp_path) == 0


def test_they_are_bounded_with_their_entries(tmp_path: Path) -> None:
    store = Store(tmp_path, 1 << 20, 20)
    for number in range(1, 41):
        entry = kept(store, f"a{number}", used=float(number))
        Encoded(store, entry).keep(GZIP, [b"x"])
    assert wait_for_files(store, tmp_path) <= 20


def test_an_entry_that_is_lost_takes_them_along(tmp_path: Path) -> None:
    store = Store(tmp_path, 1 << 20, 100)
    entry = kept(store, "a")
    Encoded(store, entry).keep(GZIP, [b"x"])
    store.remove(entry)
    assert wait_for_files(store, tmp_path) == 0


def test_damaged_forms_are_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path, 1 << 20, 100)
    entry = kept(store, "a")
    Encoded(store, entry).keep(GZIP, [b"good"])
    (file,) = (one for one in (tmp_path / "objects").rglob("*") if one.is_file() and one.read_bytes() == b"good")
    file.write_bytes(b"evil")
    forms = Encoded(store, entry)
    assert forms.open(GZIP) is None
    forms.keep(GZIP, [b"good"])
    assert forms.open(GZIP) == b"good"


def test_full_disk_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, 1 << 20, 100)
    entry = kept(store, "a")

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        Encoded(store, entry).keep(GZIP, [b"x"])
    assert Encoded(store, entry).open(GZIP) is None
    assert wait_for_files(store, tmp_path) == 1


def test_of_requests_for_the_same_one_keeps_it(tmp_path: Path) -> None:
    store = Store(tmp_path, 1 << 20, 100)
    entry = kept(store, "a")
    forms = Encoded(store, entry)

    def pieces() -> Iterator[bytes]:
        Encoded(store, entry).keep(GZIP, [b"other"])
        yield b"first"

    forms.keep(GZIP, pieces())
    assert forms.open(GZIP) == b"first"
    assert files(tmp_path) == 2
