"""The sockets clients connect to: checked before they are bound, kept open while the addresses stay.

gunicorn's own way at a reload closes all listeners and binds all again, which fails for every address that stays,
because the old workers still listen on it. Here only addresses that are new are bound.
"""

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gunicorn import sock

from proxy.settings import Address, Settings, SettingsError

_CLASSES = {socket.AF_INET: sock.TCPSocket, socket.AF_INET6: sock.TCP6Socket, socket.AF_UNIX: sock.UnixSocket}
_MENDS = {
    errno.EADDRINUSE: "another program listens there; stop it or choose another address",
    errno.EADDRNOTAVAIL: "this machine has no such address; 0.0.0.0 listens on all it has",
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE; a unix socket needs a writable directory",
    errno.ENOENT: "the directory does not exist; create it",
    errno.EEXIST: "what stands there is no socket; remove it or choose another path",
}
ADMIN = "admin"  # name of the admin's socket among inherited ones
PLAIN = "plain"  # and of those for plain HTTP beside TLS
_PROBE = 1.0  # seconds to find out whether somebody serves a unix socket


def inherited() -> bool:
    """Whether sockets came with the process: from systemd, or from the master this one upgrades."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) or "GUNICORN_FD" in os.environ


def names() -> list[str]:
    """Names of the inherited sockets, in their order: FileDescriptorName= of a systemd unit."""
    return os.environ.get("LISTEN_FDNAMES", "").split(":") if inherited() else []


def check(addresses: Iterable[Address]) -> None:
    """Find out whether these can be bound. Raises SettingsError with a line for each that cannot."""
    mistakes = []
    for address in addresses:
        try:
            _probe(address)
        except OSError as problem:
            code = problem.errno or 0
            mistakes.append(f"cannot listen on {address}: {_MENDS.get(code) or os.strerror(code)}")
    if mistakes:
        raise SettingsError(mistakes)


def _probe(address: Address) -> None:
    with socket.socket(address.family, socket.SOCK_STREAM) as probe:
        if not address.path:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address.sockaddr)
            return
        path = Path(address.path)
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such directory")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "directory not writable")
        if path.exists() and not path.is_socket():
            raise FileExistsError(errno.EEXIST, "not a socket")
        probe.settimeout(_PROBE)
        try:
            probe.connect(address.sockaddr)
        except (FileNotFoundError, ConnectionRefusedError):
            return  # nothing there, or left behind by a process that died
    raise OSError(errno.EADDRINUSE, "in use")


def added(settings: Settings, listeners: Sequence[Any], admin: Any) -> list[Address]:
    """Addresses of the settings that none of these listeners has."""
    front = settings.bind + settings.bind_plain
    bound = _match(front, [listener for listener in listeners if listener is not admin])
    missing = [address for address, listener in zip(front, bound, strict=True) if listener is None]
    if settings.admin and not _serves(admin, settings.admin):
        missing.append(settings.admin)
    return missing


def place(
    settings: Settings, listeners: Sequence[Any], admin: Any, config: Any, log: Any, *, activated: bool
) -> tuple[list[Any], Any]:
    """Listeners for the settings, keeping open those that exist; second, the one of the admin address or None.

    `admin` is the listener of the admin address so far. With socket activation (`activated`) systemd's sockets are
    the front, whatever `bind` says; one that has the admin address or is named "admin" is the admin's.
    """
    if admin is None and settings.admin:
        admin = next((listener for listener in listeners if _at(listener, settings.admin)), None)
    front = [listener for listener in listeners if listener is not admin]
    if not activated:
        addresses = settings.bind + settings.bind_plain
        bound = _match(addresses, front)
        kept = [listener or _bind(address, config, log) for address, listener in zip(addresses, bound, strict=True)]
        for listener in front:
            if listener not in kept:
                _drop(listener, log)
        front = kept
    if admin and not (settings.admin and (activated or _serves(admin, settings.admin))):
        _drop(admin, log)
        admin = None
    if settings.admin and admin is None:
        admin = _bind(settings.admin, config, log)
    return [*front, *([admin] if admin else [])], admin


def plain(
    settings: Settings, listeners: Sequence[Any], admin: Any, named: Sequence[Any], *, activated: bool
) -> list[Any]:
    """Which of the listeners that `place` gave are for plain HTTP beside TLS.

    Of systemd's sockets they are those that `named` has, by their name, and those with an address of `bind_plain`.
    """
    front = [listener for listener in listeners if listener is not admin]
    if activated:
        return [listener for listener in front if listener in named or listener in _match(settings.bind_plain, front)]
    return front[len(settings.bind) :]


def _serves(listener: Any, address: Address) -> bool:
    return listener is not None and (_at(listener, address) or _on_any_port(listener, address))


def _match(addresses: Sequence[Address], listeners: Sequence[Any]) -> list[Any]:
    """For each address the listener that has it, or None.

    Port 0 stands for whichever port the kernel chose: that of a listener made for port 0, or of an inherited one,
    whose making is not known here.
    """
    free = list(listeners)
    found: list[Any] = [None] * len(addresses)
    for same in (_at, _made_for, _on_any_port):
        for index, address in enumerate(addresses):
            listener = next((one for one in free if same(one, address)), None)
            if found[index] is None and listener is not None:
                found[index] = listener
                free.remove(listener)
    return found


def _at(listener: Any, address: Address) -> bool:
    name = listener.getsockname()
    return bool(name[:2] == address.sockaddr if isinstance(name, tuple) else name == address.sockaddr)


def _made_for(listener: Any, address: Address) -> bool:
    return bool(listener.cfg_addr == address.sockaddr)


def _on_any_port(listener: Any, address: Address) -> bool:
    name = listener.getsockname()
    return (
        isinstance(name, tuple)
        and address.port == 0
        and name[0] == address.host
        and (listener.cfg_addr[1] == 0 or listener.cfg_addr == name)
    )


def _bind(address: Address, config: Any, log: Any) -> Any:
    listener = _CLASSES[address.family](address.sockaddr, config, log)
    log.info("Listening at: %s", listener)
    return listener


def _drop(listener: Any, log: Any) -> None:
    log.info("No longer listening at: %s", listener)
    name = listener.getsockname()
    listener.close()
    if isinstance(name, str) and name:
        Path(name).unlink(missing_ok=True)


def renumber(listeners: Sequence[Any], first: int) -> None:
    """Give the listeners consecutive descriptor numbers from `first`, as socket activation wants them at an exec."""
    copies = [os.dup(listener.fileno()) for listener in listeners]
    top = first + len(copies)
    while any(first <= copy < top for copy in copies):
        copies = [os.dup(copy) if first <= copy < top else copy for copy in copies]
    for number, copy in enumerate(copies, first):
        os.dup2(copy, number, inheritable=True)
