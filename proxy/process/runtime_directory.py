"""Where a gateway that runs takes commands: a unix socket that the command line finds without being told.

    DIRECTORY/127.0.0.1:9180.sock      of the gateway with that admin address, else with that first `bind` address

The directory is $RUNTIME_DIRECTORY where systemd has made one (RuntimeDirectory=), /run/aragora-proxy for root, else
`aragora-proxy` in $XDG_RUNTIME_DIR, else /tmp/aragora-proxy-UID, which nobody else may enter. Whoever may connect to
the socket may command.
"""

import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from proxy.settings import Address

_NAME = "aragora-proxy"
_SYSTEM = Path("/run") / _NAME
_SUFFIX = ".sock"
_UNIX = "unix-"  # begins the names of those whose address is a unix socket itself


def directories() -> Iterator[Path]:
    """Where this account's gateways have their sockets, the first one for those that are started now."""
    made = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if made:
        yield Path(made)
    if os.geteuid() == 0 and os.access(_SYSTEM.parent, os.W_OK):
        yield _SYSTEM
    personal = os.environ.get("XDG_RUNTIME_DIR", "")
    if personal and os.geteuid() != 0:
        yield Path(personal) / _NAME
    yield Path("/tmp") / f"{_NAME}-{os.geteuid()}"  # noqa: S108 - made with 0700, and looked at before it is used


def make_directory() -> Path:
    """The directory for a gateway of this account. Raises OSError when it cannot be made, or is somebody else's."""
    directory = next(directories())
    mode = 0o755 if directory == _SYSTEM else 0o700
    directory.mkdir(mode, exist_ok=True)
    if not _trustworthy(directory):
        raise PermissionError(None, "it belongs to another account, or others can write to it", str(directory))
    return directory


def sockets() -> list[Path]:
    """The sockets in the directories where gateways that this account may command have theirs."""
    places = dict.fromkeys([*directories(), _SYSTEM])
    return sorted(
        path for place in places if _trustworthy(place) for path in place.glob(f"*{_SUFFIX}") if path.is_socket()
    )


def _trustworthy(directory: Path) -> bool:
    """Whether nobody but root and this account can have put something there; what is in /run is as root wants it."""
    try:
        facts = directory.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(facts.st_mode):
        return False
    return directory == _SYSTEM or (facts.st_uid in (0, os.geteuid()) and not facts.st_mode & 0o022)


def choice(path: Path) -> str:
    """What to call the gateway with this socket on the command line."""
    return f"unix:{path}" if path.name.startswith(_UNIX) else path.name.removesuffix(_SUFFIX)


def file_name(address: Address) -> str:
    """The socket's name for the gateway with this address."""
    if not address.path:
        return f"{address}{_SUFFIX}"
    return f"{_UNIX}{sha256(address.path.encode()).hexdigest()[:12]}{_SUFFIX}"
