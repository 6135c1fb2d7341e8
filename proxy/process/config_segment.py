"""Settings, and what was read for them, passed from the master to running workers.

The master makes the memory before it forks; each worker keeps a read-only view of it (`read_only`) and gives up the
writable one before it drops its privileges. The master reads nothing back: it knows what it has put.
"""

import fcntl
import io
import mmap
import os
import pickle
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from proxy.observe.shared_record import SharedRecord

Content = TypeVar("Content")

CAPACITY = 1 << 20
"""Bytes for one object, taken from the machine only as far as they are written to."""

_FUTURE_WRITE = 0x10
"""F_SEAL_FUTURE_WRITE (Linux 5.1), for which Python has no name: existing views stay writable, new ones are not."""


class ConfigSegment(Generic[Content]):
    """Shared memory for objects of one `kind`, with one writer (the master) and any number of readers (its workers)."""

    def __init__(self, kind: type[Content], capacity: int = CAPACITY) -> None:
        self._kind = kind
        self._capacity = capacity
        self._size = SharedRecord.size(capacity)
        self._file = _memory_file(self._size)
        self._memory = mmap.mmap(self._file, self._size)
        self._record = SharedRecord(memoryview(self._memory), capacity)
        _seal(self._file)
        self._known = 0
        self._newest: Content | None = None
        self._reads = False

    def read_only(self) -> None:
        """In a worker, before it drops its privileges: keep no writable view of the memory."""
        self._reads = True
        if self._file < 0:
            return
        self._record.release()
        self._memory.close()
        self._memory = mmap.mmap(self._file, self._size, prot=mmap.PROT_READ)
        self._record = SharedRecord(memoryview(self._memory), self._capacity)
        os.close(self._file)

    @property
    def turn(self) -> int:
        """How often something has been published."""
        return self._record.turn if self._reads else self._known

    def put(self, published: Content) -> None:
        """In the master: publish a checked object. Raises ValueError when it is too large."""
        try:
            self._record.write(pickle.dumps(published), self._known + 1)
        except ValueError as problem:
            raise ValueError(f"{self._kind.__name__} too large for shared memory: {problem}") from None
        self._known, self._newest = self._known + 1, published

    def get(self) -> Content | None:
        """The newest object, or None before the first."""
        while self._reads and self._known != (turn := self._record.turn):
            content = self._record.read(turn)
            if content is not None:
                newest = _Reader(content, self._kind).load()
                assert isinstance(newest, self._kind)
                self._known, self._newest = turn, newest
        return self._newest


class _Reader(pickle.Unpickler):
    """Makes objects of one class and of the classes of its fields, nothing else: reading runs no code."""

    def __init__(self, content: bytes, kind: type) -> None:
        super().__init__(io.BytesIO(content))
        self._classes = {(one.__module__, one.__qualname__): one for one in _classes(kind)}

    def find_class(self, module: str, name: str) -> type:
        try:
            return self._classes[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong into shared memory") from None


def _classes(kind: Any, known: frozenset[type] = frozenset()) -> frozenset[type]:
    """The classes that a type consists of: arguments of generics, fields of dataclasses."""
    parts: list[Any] = list(get_args(kind))
    if isinstance(kind, type) and not parts and kind not in known:
        known |= {type(Path()) if kind is Path else kind}
        parts = list(get_type_hints(kind).values()) if is_dataclass(kind) else []
    for part in parts:
        known = _classes(part, known)
    return known


def _memory_file(size: int) -> int:
    """Memory with a descriptor, so that a worker can map it read-only; -1 where the system has none.

    Only Linux does. On other systems, which are for development, workers keep the master's view.
    """
    if not hasattr(os, "memfd_create"):
        return -1
    file = os.memfd_create("aragora-proxy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    return file


def _seal(file: int) -> None:
    """Forbid new writable views, and changes of the size, which would kill readers."""
    if file < 0:
        return
    size = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    try:
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, size | _FUTURE_WRITE | fcntl.F_SEAL_SEAL)
    except OSError:  # an older kernel
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, size)
