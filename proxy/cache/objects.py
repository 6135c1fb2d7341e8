"""The bodies of what is stored, each in a file of its own.

A small body that was used lately is read from memory. Each is compared with its checksum when its worker first uses it,
and again when its file has changed: what a disk or a person has damaged is a miss.
"""

import os
import secrets
from collections import OrderedDict
from pathlib import Path
from time import monotonic, time
from typing import Final
from zlib import crc32

from proxy.cache.removal import Removal
from proxy.exchange.local_response import EncodedForms, LocalResponse
from proxy.net.disk import in_thread

_SMALL: Final = 64 << 10
"""Most bytes of a body that is kept in memory."""
_MOST_IN_MEMORY: Final = 16 << 20
"""Bytes that a worker keeps in memory."""
_OVERHEAD: Final = 2048
"""Bytes that a body takes in memory beside its own, about: those of its response's head."""
_PIECE: Final = 1 << 20
_MOST_KNOWN: Final = 4096
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_RECENT: Final = 10.0
"""Seconds for which the kernel surely has in memory what it takes to open a file once more."""
_YOUNG: Final = 600.0
"""Seconds after which a file without an entry is removed: until then its response may still be coming in."""


_Look = tuple[int, int, int]
"""Inode, time of the last change, size."""


class Held:
    """A body in memory. It may be kept while `data` is there; what goes out of memory leaves it empty."""

    __slots__ = ("age", "data", "entry", "forms", "lines", "response")

    def __init__(self, data: bytes) -> None:
        self.data: bytes | None = data
        self.response: LocalResponse | None = None
        """The last one that was made with it, of this `entry`, when it was of this `age` in seconds."""
        self.entry: object = None
        self.age = -1
        self.lines: tuple[bytes, ...] = ()
        """The field lines of the whole response of this entry, but for those that are other ones each second."""
        self.forms: EncodedForms | None = None

    def drop(self) -> None:
        """It is in memory no more."""
        self.data = self.response = self.entry = self.forms = None
        self.lines = ()


class Objects:
    """The files below one directory, as one worker sees them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.removal: Final = Removal()
        self._memory: OrderedDict[str, Held] = OrderedDict()
        self._held = 0
        self._sound: OrderedDict[str, tuple[_Look, float]] = OrderedDict()
        """What files that were compared looked like then, and until when the kernel needs no disk to open them.

        In monotonic seconds.
        """

    def in_memory(self, name: str) -> Held | None:
        """A body, if it is there without reading the disk."""
        found = self._memory.get(name)
        if found is not None:
            self._memory.move_to_end(name)
        return found

    def open(self, name: str, size: int, checksum: int) -> "bytes | int | None":
        """A body, or the descriptor of a large one, which the caller closes; None if it is not what was stored.

        Reads the disk in a thread.
        """
        found, look = in_thread(lambda: self._read(name, size, checksum), unclaimed=_close)
        if isinstance(found, bytes):
            self._remember(name, found)
        elif found is not None:
            self._note(name, look)
        return found

    def create(self) -> "Incoming":
        """A new one. Raises `OSError`."""
        name = secrets.token_hex(16)
        path = self._path(name)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        try:
            file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, flags, 0o600)
        return Incoming(name, file)

    def remove(self, names: "list[str]") -> None:
        """Remove files that no entry has any more, in a thread, and return at once."""
        for name in names:
            held = self._memory.pop(name, None)
            if held is not None:
                self._release(held)
            self._sound.pop(name, None)
        self.removal.add(map(self._path, names))

    def unused(self, used: frozenset[str]) -> list[str]:
        """The files that are none of those used. Reads the disk: call it in a thread."""
        young = time() - _YOUNG
        found = []
        for place, _, names in os.walk(self._directory):
            for name in names:
                try:
                    if name not in used and Path(place, name).lstat().st_mtime < young:
                        found.append(name)
                except OSError:
                    pass  # removed meanwhile
        return found

    def open_again(self, name: str) -> int | None:
        """The descriptor of a large body that was in use a moment ago, if its file looks as it did then.

        Needs no waiting.
        """
        look, until = self._sound.get(name, (None, 0.0))
        if look is None or until < monotonic():
            return None
        try:
            file = os.open(self._path(name), _FLAGS)
        except OSError:
            return None
        if _look_of(os.fstat(file)) != look:
            os.close(file)
            return None
        self._note(name, look)
        return file

    def _path(self, name: str) -> Path:
        return self._directory / name[:2] / name

    def _read(self, name: str, size: int, checksum: int) -> "tuple[bytes | int | None, _Look]":
        look = 0, 0, size
        try:
            file = os.open(self._path(name), _FLAGS)
        except OSError:
            return None, look
        found: bytes | int | None = None
        try:
            look = _look_of(os.fstat(file))
            known, _ = self._sound.get(name, (None, 0.0))
            if look[2] == size and size <= _SMALL:
                data = os.read(file, size)
                found = data if len(data) == size and crc32(data) == checksum else None
            elif look[2] == size and (known == look or _checksum(file) == checksum):
                found = file
        except OSError:
            pass  # it cannot be read
        finally:
            if found is not file:
                os.close(file)
        return found, look

    def _note(self, name: str, look: _Look) -> None:
        self._sound[name] = look, monotonic() + _RECENT
        if len(self._sound) > _MOST_KNOWN:
            self._sound.popitem(last=False)

    def _remember(self, name: str, body: bytes) -> None:
        if name in self._memory:
            return
        self._memory[name] = Held(body)
        self._held += len(body) + _OVERHEAD
        while self._held > _MOST_IN_MEMORY:
            self._release(self._memory.popitem(last=False)[1])

    def _release(self, held: Held) -> None:
        self._held -= len(held.data or b"") + _OVERHEAD
        held.drop()


class Incoming:
    """A body that is being stored."""

    def __init__(self, name: str, file: int) -> None:
        self.name = name
        self.size = 0
        self.checksum = 0
        self._file = file

    def write(self, data: bytes | memoryview) -> None:
        """Raises `OSError`."""
        view = memoryview(data)
        self.checksum = crc32(view, self.checksum)
        self.size += len(view)
        while view:
            view = view[os.write(self._file, view) :]

    def close(self) -> None:
        os.close(self._file)


def _look_of(facts: os.stat_result) -> _Look:
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def _checksum(file: int) -> int:
    found = 0
    while piece := os.read(file, _PIECE):
        found = crc32(piece, found)
    return found


def _close(opened: "tuple[bytes | int | None, _Look]") -> None:
    """For a client that left while the disk was busy."""
    if isinstance(opened[0], int):
        os.close(opened[0])
