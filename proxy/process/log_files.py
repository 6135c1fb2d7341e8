"""Access log and error log: opened by the master, which has the rights, and passed to workers as descriptors.

A worker never opens a log by name: it starts with inherited descriptors, and the master sends it new ones after a
rotation (USR1) and at a reload. So neither the owner of the file nor the permissions of its directory matter to
workers, and if a log cannot be reopened the old one stays in use.
"""

import errno
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.process.privileges import owner
from proxy.settings import Settings, SettingsError
from proxy.settings.values.logged import datagrams_to
from proxy.settings.values.places import Place, place_of

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY
_MODE = 0o640
_TRIES = 3  # if a file is removed while it is being opened


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Open log files, as descriptors that `close` closes; `access` is None if that log is off."""

    access: int | None
    error: int

    @classmethod
    def open(cls, settings: Settings) -> "LogFiles":
        """Open the files of the settings, creating missing ones. Raises SettingsError with a line for each failure."""
        files, problems = _opened(settings, (None, None))
        if problems:
            for file in files:
                if file is not None:
                    os.close(file)
            raise SettingsError(problems)
        return cls(*files)  # type: ignore[arg-type]

    def reopened(self, settings: Settings) -> "tuple[LogFiles, list[str]]":
        """The files that now have those names, and a line for each that could not be reopened."""
        files, problems = _opened(settings, (self.access, self.error))
        return LogFiles(*files), problems  # type: ignore[arg-type]

    def close(self) -> None:
        for file in (self.access, self.error):
            if file is not None:
                os.close(file)


class Channel:
    """The socket pair by which the master sends one worker log files. Made before the fork."""

    def __init__(self) -> None:
        self._master, self._worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._master.setblocking(False)
        self._worker.setblocking(False)

    def in_master(self) -> None:
        self._worker.close()

    def in_worker(self) -> None:
        self._master.close()

    def close(self) -> None:
        self._master.close()
        self._worker.close()

    def send(self, files: LogFiles) -> None:
        """In the master. Raises OSError if the worker does not receive."""
        descriptors = [files.error, *([] if files.access is None else [files.access])]
        socket.send_fds(self._master, [bytes(len(descriptors))], descriptors)

    def receive(self) -> LogFiles | None:
        """In the worker: the newest files that were sent, or None.

        Raises OSError when this process is out of descriptors.
        """
        newest = None
        while True:
            try:
                content, descriptors, _, _ = socket.recv_fds(self._worker, 16, 2)
            except BlockingIOError:
                return newest
            if newest is not None:
                newest.close()
            newest = None
            if not content:  # the master is gone
                return None
            if len(descriptors) < len(content):
                for file in descriptors:
                    os.close(file)
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            newest = LogFiles(descriptors[1] if len(descriptors) > 1 else None, descriptors[0])


def _opened(settings: Settings, before: tuple[int | None, int | None]) -> tuple[list[int | None], list[str]]:
    """Access log and error log, and a line for each that could not be opened and is the one from `before`."""
    files: list[int | None] = []
    problems = []
    for flag, path, standard, old in (
        ("--access-log", settings.access_log, 1, before[0]),
        ("--error-log", settings.error_log, 2, before[1]),
    ):
        try:
            files.append(None if path == "off" else os.dup(standard) if path == "-" else _at(path, owner(settings)))
        except OSError as problem:
            files.append(None if old is None else os.dup(old))
            problems.append(f"{flag} {path}: cannot be written: {problem.strerror}")
    return files, problems


def _at(place: str, account: tuple[int, int]) -> int:
    """A log's file, or a socket that is connected to its server. Raises OSError."""
    server = datagrams_to(place)
    if server is None:
        return _open(place, account)
    with socket.socket(server.family, socket.SOCK_DGRAM) as connected:
        connected.connect(server.sockaddr)
        return connected.detach()


def _open(path: str, account: tuple[int, int]) -> int:
    """A log, created for the workers' account if missing. Raises OSError, also for a pipe without a reader."""
    with place_of(Path(path).absolute()) as place:
        for _ in range(_TRIES):
            try:
                return _made(place, account)
            except FileExistsError:
                pass
            try:
                return _found(place, account[0])
            except FileNotFoundError:
                pass
    raise FileNotFoundError(None, "removed repeatedly while opening", path)


def _made(place: Place, account: tuple[int, int]) -> int:
    file = place.open(_APPEND | os.O_CREAT | os.O_EXCL, _MODE)
    if os.geteuid() == 0:
        with suppress(OSError):  # it can be written to anyway
            os.fchown(file, *account)
    return file


def _found(place: Place, uid: int) -> int:
    """The existing file, unless another account may have put it in the log's place."""
    file = place.open(_APPEND | os.O_NONBLOCK)  # or opening a pipe would wait for its reader
    facts = os.fstat(file)
    problem = ""
    if stat.S_ISREG(facts.st_mode) and not place.ours:
        if facts.st_nlink != 1:
            problem = "it has another hard link, in a directory that other accounts can write to"
        elif facts.st_uid not in (0, os.geteuid(), uid):
            problem = "it belongs to another account, in a directory that other accounts can write to"
    if problem:
        os.close(file)
        raise PermissionError(None, problem)
    os.set_blocking(file, True)
    return file
