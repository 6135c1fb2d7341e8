"""Listening unix sockets: created, changed and removed with no more rights than their directory allows.

In a directory that only root can write to, a root master does this itself. Elsewhere it acts as the workers' account
meanwhile, so that replacing the socket gains nothing.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from gunicorn import sock

from proxy.process.privileges import acting_as
from proxy.settings.values.places import Place, place_of


@dataclass(frozen=True, slots=True)
class Permissions:
    """Owner and mode of a socket's file.

    `account`: user and group of the workers; it is created with their rights where others than root can write, or not
    at all if this is None.
    """

    mode: int
    uid: int
    gid: int
    account: tuple[int, int] | None


class UnixSocket(sock.UnixSocket):  # type: ignore[misc]
    """gunicorn's, but it never opens, removes or changes the owner of whatever else has the path."""

    def __init__(self, path: str, config: Any, log: Any, permissions: Permissions) -> None:
        self._permissions = permissions
        sock.BaseSocket.__init__(self, path, config, log)
        self.identity = identity(path)

    def bind(self, sock: socket.socket) -> None:
        """Called by the constructor. Raises OSError."""
        try:
            with _rights(self.cfg_addr, self._permissions.account) as place:
                self._bind(sock, place)
        except OSError:
            sock.close()  # gunicorn leaves it open
            raise

    def _bind(self, sock: socket.socket, place: Place) -> None:
        found = place.facts()
        if found is not None and stat.S_ISSOCK(found.st_mode):  # left behind by a process that ended
            os.unlink(place.name, dir_fd=place.directory)
        umask = os.umask(0o777 & ~self._permissions.mode)
        try:
            sock.bind(self.cfg_addr)
        finally:
            os.umask(umask)
        _give(place, self._permissions)


def probe(path: str, account: tuple[int, int] | None, patience: float) -> None:
    """Check whether a socket can be created; `patience`: seconds for an existing one to accept.

    Raises OSError: FileExistsError if there is no socket but another file, EADDRINUSE if it is served.
    """
    with _rights(path, account) as place:
        found = place.facts()
        if found is not None and not stat.S_ISSOCK(found.st_mode):
            raise FileExistsError(errno.EEXIST, "not a socket")
        # The effective ids, where the system supports that; elsewhere there is no acting as another account.
        effective = os.access in os.supports_effective_ids
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.directory, effective_ids=effective):
            raise PermissionError(errno.EACCES, "directory not writable")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(patience)
        try:
            client.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return  # none, or left behind by a process that ended
    raise OSError(errno.EADDRINUSE, "in use")


def identity(path: str) -> tuple[int, int] | None:
    """The identity of the file at a path, or None if there is none."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def is_lost(listener: Any) -> bool:
    """Whether a listener is unreachable: its file was removed or replaced."""
    path = listener.getsockname()
    return isinstance(path, str) and not path.startswith("\0") and identity(path) != listener.identity


def adjust(listener: Any, permissions: Permissions) -> None:
    """Give the file of an existing socket the permissions of the settings. Raises OSError."""
    with _rights(listener.getsockname(), permissions.account) as place:
        found = place.facts()
        if found is not None and stat.S_IMODE(found.st_mode) != permissions.mode:
            os.chmod(place.name, permissions.mode, dir_fd=place.directory)
        _give(place, permissions)


def remove(listener: Any, account: tuple[int, int] | None) -> None:
    """Remove the file of a socket, if it is still the socket's. Raises OSError."""
    if not is_lost(listener):
        with _rights(listener.getsockname(), account) as place:
            os.unlink(place.name, dir_fd=place.directory)


def _give(place: Place, permissions: Permissions) -> None:
    if place.ours and os.geteuid() == 0:
        os.chown(place.name, permissions.uid, permissions.gid, dir_fd=place.directory, follow_symlinks=False)
    elif permissions.gid != os.getegid():
        os.chown(place.name, -1, permissions.gid, dir_fd=place.directory, follow_symlinks=False)


@contextmanager
def _rights(path: str, account: tuple[int, int] | None) -> Iterator[Place]:
    with place_of(path) as place:
        if not place.ours and account is None:
            raise PermissionError(None, "accounts other than root can write to its directory", path)
        with nullcontext() if place.ours or account is None else acting_as(*account):
            yield place
