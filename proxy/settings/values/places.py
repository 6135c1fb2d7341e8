"""Resolving paths in a privileged process, where other accounts can write to directories on the way.

A root master opens logs, sockets and state by paths that the operator chose, in directories that may belong to other
accounts, the workers' above all. An account that can write to a directory can plant a link there, and have root open,
or change the owner of, whatever it leads to. So a path is walked name by name from open directories, and root follows a
link only if no other account could have set it; for reading a file, also if it belongs to the file's own owner.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_FOREIGN = "%s is a link that another account could have set"
_MOST_LINKS = 40  # as the kernel counts
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Place:
    """An open directory and a name in it, which may or may not exist.

    `ours`: only root can replace it, or a directory on the way; always true in a process that is not root.
    """

    directory: int
    name: str
    ours: bool
    magic: bool = False
    """Whether it is one of the kernel's own links to open files, as in /proc, which have no path to walk."""
    links: tuple[tuple[str, int], ...] = ()
    """Name and owner of links on the way that accounts other than root could have set."""

    def open(self, flags: int, mode: int = 0o600) -> int:
        """Open the file, which must not be a link. Raises OSError."""
        nofollow = 0 if self.magic else os.O_NOFOLLOW
        return os.open(self.name, flags | nofollow | os.O_CLOEXEC, mode, dir_fd=self.directory)

    def facts(self) -> os.stat_result | None:
        """The file's status, or None if it does not exist."""
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=self.magic)
        except FileNotFoundError:
            return None


@contextmanager
def place_of(path: str | Path) -> Iterator[Place]:
    """The place of an absolute path. Raises OSError, with ELOOP for a link that another account could have set."""
    place = _walk(Path(path))
    try:
        for name, _ in place.links:
            raise OSError(errno.ELOOP, _FOREIGN % name, str(path))
        yield place
    finally:
        os.close(place.directory)


def open_to_read(path: str | Path) -> int:
    """Open a file without waiting for its content. Raises OSError, with ELOOP for a link by which another account could
    make this process read what that account may not."""
    place = _walk(Path(path).absolute())
    try:
        file = place.open(os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        facts, directory = os.fstat(file), os.fstat(place.directory)
    finally:
        os.close(place.directory)
    foreign = [name for name, uid in place.links if uid != facts.st_uid]
    if not place.ours and stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1 and facts.st_uid != directory.st_uid:
        foreign.append(place.name)
    if foreign:
        os.close(file)
        raise OSError(errno.ELOOP, _FOREIGN % foreign[0], str(path))
    return file


def _walk(path: Path) -> Place:
    names = [*reversed(path.parts[1:])]
    directory, ours, followed = os.open("/", _DIRECTORY), True, 0
    links: list[tuple[str, int]] = []
    try:
        while True:
            place = _entry(directory, names.pop(), ours=ours)
            target = _target(place)
            if target is not None:
                followed += 1
                if followed > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                if not place.ours:
                    links.append((place.name, _owner(place)))
                names += reversed(target.parts[target.is_absolute() :])
                if not target.is_absolute():
                    continue
                below, ours = os.open("/", _DIRECTORY), True
            elif names:
                below, ours = place.open(_DIRECTORY), place.ours
            else:
                return replace(place, links=tuple(links))
            os.close(directory)
            directory = below
    except BaseException:
        os.close(directory)
        raise


def _entry(directory: int, name: str, *, ours: bool) -> Place:
    found = Place(directory, name, ours=ours).facts()
    sure = _only_ours(os.fstat(directory), found)
    magic = found is not None and stat.S_ISLNK(found.st_mode) and found.st_dev == _procfs()
    return Place(directory, name, ours and sure, magic)


def _only_ours(directory: os.stat_result, found: os.stat_result | None) -> bool:
    """Whether only root can have put the file into the directory, and can replace it.

    Always true for other accounts: they have no privileges to abuse, so the kernel's rules suffice.
    """
    if os.geteuid() != 0:
        return True
    if directory.st_uid != 0:
        return False
    if not directory.st_mode & _WRITABLE_BY_OTHERS:
        return True
    if not directory.st_mode & stat.S_ISVTX or found is None or found.st_uid != 0:
        return False
    # In a sticky directory such as /tmp only the owner can move a file, but any account can hard-link it.
    return stat.S_ISDIR(found.st_mode) or (found.st_nlink == 1 and not stat.S_ISLNK(found.st_mode))


def _target(place: Place) -> Path | None:
    """The target of a link, or None if it is not one."""
    found = place.facts()
    if found is None or not stat.S_ISLNK(found.st_mode):
        return None
    return Path(os.readlink(place.name, dir_fd=place.directory))


def _owner(place: Place) -> int:
    found = place.facts()
    return -1 if found is None else found.st_uid


def _procfs() -> int:
    try:
        return Path("/proc/self/fd").stat().st_dev
    except OSError:
        return -1
