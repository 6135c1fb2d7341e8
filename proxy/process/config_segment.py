"""Settings, and what was read for them, handed from the master to workers that already run.

The master makes the memory before it forks; each worker keeps a read-only view of it (`read_only`) and gives up the
writable one before it gives up its rights. Two halves are written in turn and a counter says which holds the newest,
so a worker never reads one that is being written. The master reads nothing back: it knows what it has put.
"""

import fcntl
import io
import mmap
import os
import pickle
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints
from zlib import crc32

Content = TypeVar("Content")

ROOM = 1 << 20
"""Bytes for one object, taken from the machine only as far as they are written to."""

_HEAD = 24
_FUTURE_WRITE = 0x10
"""F_SEAL_FUTURE_WRITE (Linux 5.1), which Python has no name for: views that exist stay writable, new ones are not."""


class ConfigSegment(Generic[Content]):
    """Shared memory for objects of one `kind`, with one writer (the master) and any number of readers (its workers)."""

    def __init__(self, kind: type[Content], room: int = ROOM) -> None:
        self._kind = kind
        self._room = room
        self._size = _HEAD + 2 * room
        self._file = _memory_file(self._size)
        self._memory = mmap.mmap(self._file, self._size)
        _seal(self._file)
        self._turn = memoryview(self._memory)[:8].cast("q")
        self._known = 0
        self._newest: Content | None = None
        self._reads = False

    def read_only(self) -> None:
        """In a worker, before it runs as another account: keep no view of the memory that can be written to."""
        self._reads = True
        if self._file < 0:
            return
        self._turn.release()
        self._memory.close()
        self._memory = mmap.mmap(self._file, self._size, prot=mmap.PROT_READ)
        self._turn = memoryview(self._memory)[:8].cast("q")
        os.close(self._file)

    @property
    def turn(self) -> int:
        """How often something was published."""
        return self._turn[0] if self._reads else self._known

    def put(self, published: Content) -> None:
        """In the master: publish what was checked. Raises ValueError when it is larger than the memory."""
        content = pickle.dumps(published)
        if len(content) > self._room - _HEAD:
            raise ValueError(
                f"the {self._kind.__name__} takes {len(content)} bytes; at most {self._room - _HEAD} can be handed over"
            )
        turn = self._known + 1
        start = _HEAD + turn % 2 * self._room
        frame = len(content).to_bytes(8, "little") + crc32(content).to_bytes(8, "little") + content
        self._memory[start : start + len(frame)] = frame
        self._turn[0] = turn
        self._known, self._newest = turn, published

    def get(self) -> Content | None:
        """The newest, or None when nothing was published yet."""
        while self._reads and self._known != (turn := self._turn[0]):
            found = self._read(_HEAD + turn % 2 * self._room)
            if found is not None:
                self._known, self._newest = turn, found
        return self._newest

    def _read(self, start: int) -> Content | None:
        size = int.from_bytes(self._memory[start : start + 8], "little")
        checksum = int.from_bytes(self._memory[start + 8 : start + 16], "little")
        content = self._memory[start + 16 : start + 16 + min(size, self._room)]
        if crc32(content) != checksum:
            return None  # overtaken: the master has published twice since the turn was read
        newest = _Reader(content, self._kind).load()
        assert isinstance(newest, self._kind)
        return newest


class _Reader(pickle.Unpickler):
    """Makes objects of one class, and of those that its fields have; nothing else, so that reading runs no code."""

    def __init__(self, content: bytes, kind: type) -> None:
        super().__init__(io.BytesIO(content))
        self._classes = {(one.__module__, one.__qualname__): one for one in _classes(kind)}

    def find_class(self, module: str, name: str) -> type:
        try:
            return self._classes[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not handed over") from None


def _classes(kind: Any, known: frozenset[type] = frozenset()) -> frozenset[type]:
    """A type's classes: of generics those of their arguments, of dataclasses those of their fields too."""
    parts: list[Any] = list(get_args(kind))
    if isinstance(kind, type) and not parts and kind not in known:
        known |= {type(Path()) if kind is Path else kind}
        parts = list(get_type_hints(kind).values()) if is_dataclass(kind) else []
    for part in parts:
        known = _classes(part, known)
    return known


def _memory_file(size: int) -> int:
    """Memory with a descriptor, so that a worker can have a view of its own; -1, no file, where there is none such.

    Elsewhere than on Linux, which is for development, workers keep the master's view.
    """
    if not hasattr(os, "memfd_create"):
        return -1
    file = os.memfd_create("aragora-proxy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    return file


def _seal(file: int) -> None:
    """Let nobody write from now on but who has a writable view, nor change the size, which would kill its readers."""
    if file < 0:
        return
    size = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    try:
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, size | _FUTURE_WRITE | fcntl.F_SEAL_SEAL)
    except OSError:  # an older kernel
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, size)
