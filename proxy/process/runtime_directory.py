"""The command sockets of running gateways, where the command line finds them.

    DIRECTORY/127.0.0.1:9180.sock      of the gateway with that admin address, else with that first `bind` address

The directory is $RUNTIME_DIRECTORY where systemd has made one (RuntimeDirectory=), /run/aragora-proxy for root, else
`aragora-proxy` in $XDG_RUNTIME_DIR, else /tmp/aragora-proxy-UID, which is closed to other accounts. Any account that
may connect to the socket may send commands.
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
_UNIX = "unix-"  # prefix for gateways whose address is itself a unix socket


def directories() -> Iterator[Path]:
    """The directories of this account's gateways; a gateway that starts uses the first."""
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
    """The directory for a gateway of this account. Raises OSError if it cannot be made or is another account's."""
    directory = next(directories())
    mode = 0o755 if directory == _SYSTEM else 0o700
    directory.mkdir(mode, exist_ok=True)
    if not _trustworthy(directory):
        raise PermissionError(None, "it belongs to another account, or other accounts can write to it", str(directory))
    return directory


def sockets() -> list[Path]:
    """The sockets of gateways to which this account may send commands."""
    places = dict.fromkeys([*directories(), _SYSTEM])
    return sorted(
        path for place in places if _trustworthy(place) for path in place.glob(f"*{_SUFFIX}") if path.is_socket()
    )


def _trustworthy(directory: Path) -> bool:
    """Whether only root and this account can write there; /run is root's."""
    try:
        facts = directory.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(facts.st_mode):
        return False
    return directory == _SYSTEM or (facts.st_uid in (0, os.geteuid()) and not facts.st_mode & 0o022)


def choice(path: Path) -> str:
    """The command line's name for the gateway with this socket."""
    return f"unix:{path}" if path.name.startswith(_UNIX) else path.name.removesuffix(_SUFFIX)


def file_name(address: Address) -> str:
    """The file name of the socket of the gateway with this address."""
    if not address.path:
        return f"{address}{_SUFFIX}"
    return f"{_UNIX}{sha256(address.path.encode()).hexdigest()[:12]}{_SUFFIX}"
