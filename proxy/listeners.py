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
}
_PROBE = 1.0  # seconds to find out whether somebody serves a unix socket


def inherited() -> bool:
    """Whether sockets came with the process: from systemd, or from the master this one upgrades."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) or "GUNICORN_FD" in os.environ


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
        probe.settimeout(_PROBE)
        try:
            probe.connect(address.sockaddr)
        except (FileNotFoundError, ConnectionRefusedError):
            return  # nothing there, or left behind by a process that died
    raise OSError(errno.EADDRINUSE, "in use")


def added(settings: Settings, listeners: Sequence[Any]) -> list[Address]:
    """Addresses of the settings that none of these listeners has."""
    return [address for address, listener in _match(settings, listeners) if listener is None]


def place(settings: Settings, listeners: Sequence[Any], config: Any, log: Any, *,
          activated: bool) -> tuple[list[Any], Any]:
    """Listeners for the settings, keeping open those that exist; second, the one of the admin address or None.

    With socket activation (`activated`) systemd's sockets are the front, whatever `bind` says; one that has the admin
    address is the admin's.
    """
    matched = _match(settings, listeners)
    if activated:
        admin = next((found for address, found in matched if address == settings.admin), None)
        chosen = [listener for listener in listeners if listener is not admin]
        if settings.admin and admin is None:
            admin = _bind(settings.admin, config, log)
        return [*chosen, *([admin] if admin else [])], admin
    chosen, admin = [], None
    for address, found in matched:
        listener = found or _bind(address, config, log)
        chosen.append(listener)
        if address == settings.admin:
            admin = listener
    for listener in listeners:
        if listener not in chosen:
            log.info("No longer listening at: %s", listener)
            _drop(listener)
    return chosen, admin


def _match(settings: Settings, listeners: Sequence[Any]) -> list[tuple[Address, Any]]:
    """Each address of the settings with the listener that has it, the admin's last.

    Port 0 stands for whichever port the kernel chose on that host.
    """
    free = list(listeners)
    wanted = [*settings.bind, *([settings.admin] if settings.admin else [])]
    found: dict[int, Any] = {}
    for exact in (True, False):
        for place_, address in enumerate(wanted):
            if place_ in found:
                continue
            for listener in free:
                name = listener.getsockname()
                if address.path or isinstance(name, str | bytes):
                    same = name == address.path
                else:
                    same = name[0] == address.host and (
                        name[1] == address.port or (not exact and address.port == 0))
                if same:
                    found[place_] = listener
                    free.remove(listener)
                    break
    return [(address, found.get(place_)) for place_, address in enumerate(wanted)]


def _bind(address: Address, config: Any, log: Any) -> Any:
    listener = _CLASSES[address.family](address.sockaddr, config, log)
    log.info("Listening at: %s", listener)
    return listener


def _drop(listener: Any) -> None:
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
