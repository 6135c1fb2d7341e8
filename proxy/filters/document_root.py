"""Finding files beneath a directory, and nowhere else.

A path is walked one name at a time from the root's own descriptor: what is opened lies beneath the root at that moment,
whatever is renamed or linked meanwhile. Symbolic links on the way are followed where they stay beneath the root
(`proxy.filters.links`). The root itself may be a link, as deployments make them, and is looked up anew each time.
"""

import errno
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import unquote_to_bytes

from proxy.filters.links import open_linked

_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A named pipe under the root must not stop the thread that opens it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WELL_KNOWN = b".well-known"  # RFC 8615
_SLASHES = re.compile(rb"/{2,}")
_MOST_NAMES = 64

# What a link on the way looks like where none is followed: as the last name, and as another.
_LINKED = (errno.ELOOP, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Found:
    """An open regular file, or a directory (then nothing is open and `descriptor` is -1)."""

    descriptor: int
    name: str
    size: int = 0
    modified_ns: int = 0
    """When its content was written, as far as anybody may set that."""
    state: str = ""
    """What differs between any two states of any two files: a digest of inode, time of its last change and size."""
    changed: float = 0.0
    """When its inode changed last, in seconds since the epoch: unlike the other it cannot be set."""

    @property
    def directory(self) -> bool:
        return self.descriptor < 0

    def close(self) -> None:
        if not self.directory:
            os.close(self.descriptor)


DIRECTORY = Found(-1, "")


def names(path: bytes) -> list[bytes] | None:
    """The names on the way that a request's path describes; None for a path that no served file has.

    No hidden files (but `.well-known` at the top), no dot segments, no name that hides a separator. Repeated slashes
    are one, as they are where the route is chosen.
    """
    found = [unquote_to_bytes(name) for name in _SLASHES.sub(b"/", path).removeprefix(b"/").split(b"/")]
    if len(found) > _MOST_NAMES:
        return None
    for place, name in enumerate(found):
        if b"/" in name or b"\0" in name or len(name) > 255:
            return None
        if name[:1] == b"." and not (name == _WELL_KNOWN and place == 0):
            return None
    return found


def find(root: str, way: list[bytes], index: str) -> Found | OSError:
    """What lies at the end of `way`; an empty last name means the directory's `index`.

    Blocks on the disk. Errors are returned, since they are results here and not accidents: anything that is neither
    file nor directory counts as missing.
    """
    if way[-1]:
        return _walk(root, way)
    found = _walk(root, [*way[:-1], os.fsencode(index)])
    if isinstance(found, Found) and found.directory:
        return FileNotFoundError()
    return found


def find_encoded(root: str, way: list[bytes], original: Found, suffixes: Mapping[bytes, str]) -> dict[bytes, Found]:
    """The files next to `original` that hold it already encoded, by content coding; older ones are left out.

    Blocks on the disk. The caller closes them.
    """
    found = {}
    for coding, suffix in suffixes.items():
        sibling = _walk(root, [*way[:-1], os.fsencode(original.name + suffix)])
        if isinstance(sibling, Found):
            if not sibling.directory and sibling.modified_ns // 10**9 >= original.modified_ns // 10**9:
                found[coding] = sibling
            else:
                sibling.close()
    return found


def open_directory(root: str, way: list[bytes]) -> int:
    """Open the directory at `way` for reading. Blocks on the disk. Raises `OSError` for what is none."""
    try:
        directory = _descend(root, way)
    except OSError as error:
        if error.errno not in _LINKED:
            raise
        directory = open_linked(root, way)
    try:
        return os.open(".", _LISTED, dir_fd=directory)
    finally:
        os.close(directory)


def _descend(root: str, way: list[bytes]) -> int:
    directory = os.open(root, _DIRECTORY)
    for name in way:
        try:
            below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        finally:
            os.close(directory)
        directory = below
    return directory


def _walk(root: str, way: list[bytes]) -> Found | OSError:
    try:
        directory = _descend(root, way[:-1])
        try:
            return _opened(os.open(way[-1], _FILE, dir_fd=directory), way[-1])
        finally:
            os.close(directory)
    except OSError as error:
        if error.errno not in _LINKED:
            return error
    try:
        return _opened(open_linked(root, way), way[-1])
    except OSError as error:
        return error


def _opened(descriptor: int, name: bytes) -> Found | OSError:
    about = os.fstat(descriptor)
    if stat.S_ISREG(about.st_mode):
        state = b"%x-%x-%x" % (about.st_ino, about.st_ctime_ns, about.st_size)
        digest = blake2b(state, digest_size=8).hexdigest()  # an inode's number is not for clients
        return Found(descriptor, os.fsdecode(name), about.st_size, about.st_mtime_ns, digest, about.st_ctime)
    os.close(descriptor)
    return DIRECTORY if stat.S_ISDIR(about.st_mode) else FileNotFoundError()
