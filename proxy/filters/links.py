"""Following symbolic links that stay beneath a directory and belong to its owner.

A link's target is read from the link's own descriptor and walked name by name like any other path, with the directories
on the way held open: `..` goes back to the one through which the walk came, so nothing that is renamed or linked
meanwhile leads it out. Only links of the directory's owner (or the superuser) are followed: other users that may write
somewhere beneath it cannot make what lies elsewhere appear there.
"""

import errno
import os
import stat

_MOST_LINKS = 16
_MOST_NAMES = 256

# Neither opens a link's target: the first takes the link itself, the second fails at it.
_NODE = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
# A named pipe under the root must not stop the thread that opens it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_linked(root: str, way: list[bytes]) -> int:
    """Open what lies at the end of `way` beneath `root`, be there links on the way. Blocks on the disk.

    Raises `OSError`: ELOOP for a link that leads out, belongs to another account, is hidden or one too many.
    """
    if not hasattr(os, "O_PATH"):  # a link cannot be held open, so what is read of it need not be what was checked
        raise _refused()
    walk = _Walk(root)
    try:
        return walk.to(way)
    finally:
        walk.close()


class _Walk:
    """The directories from the root to the current one, all open."""

    def __init__(self, root: str) -> None:
        self._root = os.fsencode(root)
        self._open = [os.open(root, _NODE & ~os.O_NOFOLLOW | os.O_DIRECTORY)]
        self._owners = {0, os.fstat(self._open[0]).st_uid}
        self._links = 0

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def to(self, way: list[bytes]) -> int:
        names = way[::-1]
        while names:
            name = names.pop()
            if name == b"..":
                self._back()
            elif name not in (b"", b"."):
                node = os.open(name, _NODE, dir_fd=self._open[-1])
                kind = os.fstat(node)
                if stat.S_ISDIR(kind.st_mode):
                    self._open.append(node)
                    continue
                try:
                    if stat.S_ISLNK(kind.st_mode):
                        names += self._target(node, kind.st_uid)[::-1]
                        if len(names) > _MOST_NAMES:
                            raise _refused()
                    elif names:
                        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                    else:
                        return os.open(name, _FILE, dir_fd=self._open[-1])
                finally:
                    os.close(node)
        return os.dup(self._open[-1])

    def _back(self) -> None:
        if len(self._open) == 1:
            raise _refused()
        os.close(self._open.pop())

    def _target(self, link: int, owner: int) -> list[bytes]:
        """The names that a link leads to; an absolute one begins at the root again."""
        self._links += 1
        if owner not in self._owners or self._links > _MOST_LINKS:
            raise _refused()
        target = os.readlink(b"", dir_fd=link)
        names = target.split(b"/")
        if target.startswith(b"/"):
            names = self._beneath_root(target)
            while len(self._open) > 1:
                self._back()
        # Kubernetes mounts a ConfigMap as links through "..data"; other hidden names are as hidden as in a request.
        if any(name[:1] == b"." and name[:2] != b".." and name != b"." for name in names):
            raise _refused()
        return names

    def _beneath_root(self, target: bytes) -> list[bytes]:
        for root in (self._root, os.path.realpath(self._root)):
            if target == root or target.startswith(root.rstrip(b"/") + b"/"):
                return target[len(root) :].split(b"/")
        raise _refused()


def _refused() -> OSError:
    return OSError(errno.ELOOP, os.strerror(errno.ELOOP))
