"""Certificates, account and challenges in a directory that several gateways share, on a file system of the network.

Such a file system may answer late or never, and then whatever touches it hangs. So the gateway serves from its own
state directory alone, and touches the shared one in a few threads that it waits for some seconds at most. Certificates
are copied in both directions, the newer over the older.

Orders are placed by the gateway that has the lock in the shared directory. It is the kernel's (flock), which network
file systems keep on their server: when a process ends, however that came about, the lock is free at once, and when a
machine is lost, as soon as its lease with that server has run out.
"""

import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from time import time
from typing import Any, TypeVar

import gevent
from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors

from proxy.acme.state import State
from proxy.log import log
from proxy.net.private_file import write_private

Result = TypeVar("Result")

_PATIENCE = 5.0  # seconds
_THREADS = 4
_LARGEST = 1 << 20  # bytes of a file


class StoreLost(OSError):  # noqa: N818 - names what happened
    """The shared directory cannot be used now."""


class SharedStore:
    """How one worker reaches the shared directory; `purpose` has threads of its own."""

    def __init__(self, directory: Path, purpose: str) -> None:
        self.directory = directory
        self.fault = ""
        """Why it cannot be used, if it could not be the last time."""
        self._purpose = purpose
        self._lost = 0.0
        self._device = 0

    def run(self, task: Callable[..., Result], *arguments: Any) -> Result:
        """Do something with the directory. Blocks the greenlet for some seconds at most. Raises `StoreLost`."""
        late = TimeoutError(f"no answer within {_PATIENCE:.0f} s")
        try:
            with gevent.Timeout(_PATIENCE, late):
                result = _threads(self._purpose).spawn(wrap_errors(OSError, self._do), task, arguments).get()
            if isinstance(result, OSError):
                raise result
        except OSError as problem:
            self._lose(str(problem))
            raise StoreLost(self.fault) from None
        if self.fault:
            log.warning("shared_certificates %s: usable again, after %.0f s", self.directory, time() - self._lost)
            self.fault = ""
        return result  # type: ignore[no-any-return]

    def _do(self, task: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
        """In a thread. An empty directory under a file system that is not mounted any more is not the shared one."""
        device = self.directory.stat().st_dev
        if self._device not in (0, device):
            raise OSError("its file system is not mounted")
        self._device = device
        return task(*arguments)

    def _lose(self, reason: str) -> None:
        if not self.fault:
            self._lost = time()
            log.warning(
                "shared_certificates %s: cannot be used: %s; serving what is here, nothing is obtained or renewed",
                self.directory,
                reason,
            )
        self.fault = reason or "unknown"


@cache
def _threads(_purpose: str) -> ThreadPool:
    """Made in a worker, when it is needed first."""
    return ThreadPool(_THREADS)


def synchronise(shared: State, own: State, names: Iterable[str]) -> None:
    """Give both the newer certificate of each name, and mark of use; what else is kept of a name is the shared one's.

    Blocks. Raises `OSError`.
    """
    shared.make()
    own.make()
    for name in names:
        _exchange(shared.certificate(name), own.certificate(name))
        _exchange(shared.demand(name), own.demand(name))
        for theirs, ours in zip(shared.notes(name), own.notes(name), strict=True):
            _mirror(theirs, ours)


def _exchange(one: Path, other: Path) -> None:
    """Replace the older of two files by the newer."""
    ages = _age(one), _age(other)
    if ages[0] > ages[1]:
        _copy(one, other)
    elif ages[1] > ages[0]:
        _copy(other, one)


def _mirror(source: Path, target: Path) -> None:
    if _age(source) == 0:
        target.unlink(missing_ok=True)
    elif _age(source) != _age(target):
        _copy(source, target)


def _age(file: Path) -> int:
    """When its content was written (unix seconds; not all file systems keep parts of one), 0 without a file."""
    try:
        return int(file.stat().st_mtime)
    except FileNotFoundError:
        return 0


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        facts = os.fstat(file.fileno())
        content = file.read(_LARGEST)
    write_private(target, content)
    os.utime(target, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
