"""Spools: memory first, then a file; a full disk loses nothing that was stored before."""

import os
import socket
from pathlib import Path

import pytest

from proxy.net import spool as module
from proxy.net.spool import REQUESTS, Room, Spool


def _content(spool: Spool) -> bytes:
    """What a spool sends, by sendfile where it can and past Python's buffers where it must not."""
    contents = []
    for sink in (Plain, Sealed):
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            data = b""
            while len(data) < spool.length:
                assert spool.send_to(sink(near), len(data))
                data += far.recv(1 << 20)
            contents.append(data)
    assert contents[0] == contents[1]
    return contents[0]


class Plain:
    """An outlet without a loop: a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @property
    def descriptor(self) -> int | None:
        return self._sock.fileno()

    def send(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0


class Sealed(Plain):
    """One whose bytes may not pass it by, as under TLS."""

    @property
    def descriptor(self) -> int | None:
        return None


@pytest.mark.parametrize("sizes", [[10, 20], [10, 100, 1], [200, 5], [64, 0, 1]])
def test_what_was_appended_is_sent_as_often_as_asked(sizes: list[int], tmp_path: Path) -> None:
    spool = Spool(64, str(tmp_path))
    expected = b""
    for number, size in enumerate(sizes):
        piece = bytes([65 + number]) * size
        spool.append(piece)
        expected += piece
    assert _content(spool) == expected
    assert _content(spool) == expected
    assert not list(tmp_path.iterdir()), "the file has no name"
    spool.clear()
    assert spool.length == 0
    spool.append(b"again")
    assert _content(spool) == b"again"
    spool.close()


def test_a_receiver_that_takes_nothing_is_no_error() -> None:
    spool = Spool(1 << 20, None)
    spool.append(b"x" * 1_000_000)
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        sent = 0
        while moved := spool.send_to(Plain(near), sent):
            sent += moved
        assert 0 < sent < spool.length


def test_a_full_disk_is_told_and_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spool = Spool(8, str(tmp_path))
    spool.append(b"kept")
    monkeypatch.setattr(module.os, "pwrite", _no_space)
    with pytest.raises(OSError, match="No space"):
        spool.append(b"too much")
    assert spool.length == 4
    assert _content(spool) == b"kept"
    monkeypatch.undo()
    spool.append(b" and more")
    assert _content(spool) == b"kept and more"
    spool.close()


def _no_space(*_arguments: object) -> int:
    raise OSError(28, os.strerror(28))


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """Room for a thousand bytes, for this test alone."""
    own = Room()
    own.most = 1000
    monkeypatch.setattr(module, "room", own)
    return own


def test_what_is_on_disk_is_told_and_bounded(room: Room, tmp_path: Path) -> None:
    told = []
    others = 0
    refused = []
    room.share(told.append, lambda: others + (told[-1] if told else 0), lambda: refused.append(1))
    spool = Spool(8, str(tmp_path), share=REQUESTS)
    spool.append(b"memory")
    assert told == []
    spool.append(b"x" * 594)
    assert told[-1] == 600
    with pytest.raises(OSError, match="spool_total"):
        spool.append(b"x" * 401)
    assert _content(spool) == b"memory" + b"x" * 594
    others = 401
    with pytest.raises(OSError, match="spool_total"):
        spool.append_from(lambda _file, _offset: 0)
    assert refused == [1, 1]
    others = 0
    spool.append_from(lambda file, offset: os.pwrite(file, b"piped", offset))
    assert (told[-1], spool.length) == (605, 605)
    spool.clear()
    assert told[-1] == 0
    spool.append(b"again")
    spool.close()
    spool.close()
    assert told[-1] == 0


def test_responses_leave_half_of_the_room_to_requests(room: Room, tmp_path: Path) -> None:
    response, request = Spool(0, str(tmp_path)), Spool(0, str(tmp_path), share=REQUESTS)
    response.append(b"x" * 500)
    with pytest.raises(OSError, match="spool_total"):
        response.append(b"x")
    request.append(b"x" * 500)
    with pytest.raises(OSError, match="spool_total"):
        request.append(b"x")
    response.close()
    request.append(b"x" * 500)
    request.close()


def test_what_fits_in_memory_needs_no_room(room: Room, tmp_path: Path) -> None:
    room.most = 0
    spool = Spool(64, str(tmp_path))
    spool.append(b"x" * 64)
    with pytest.raises(OSError, match="spool_total"):
        spool.append(b"x")
    assert _content(spool) == b"x" * 64
    spool.close()


def test_all_that_is_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    before = module.room.in_memory
    monkeypatch.setattr(module, "MOST_IN_MEMORY", before + 1000)
    spools = [Spool(600, None) for _ in range(3)]
    for spool in spools:
        spool.append(b"x" * 400)
    assert [spool.in_memory() for spool in spools] == [b"x" * 400, b"x" * 400, b""]
    assert module.room.in_memory == before + 800
    spools[0].append(b"y" * 300)  # over its own limit: to the file with all of it
    assert module.room.in_memory == before + 400
    assert _content(spools[0]) == b"x" * 400 + b"y" * 300
    assert _content(spools[2]) == b"x" * 400
    spools[1].clear()
    assert module.room.in_memory == before
    spools[1].append(b"z")
    for spool in spools:
        spool.close()
        spool.close()
    assert module.room.in_memory == before
