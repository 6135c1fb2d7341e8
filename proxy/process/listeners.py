"""The sockets that clients connect to: checked before they are bound, kept open while their addresses stay.

At a reload gunicorn itself would close all listeners and bind them again, which fails for every address that stays,
because the old workers still listen on it. Here only new addresses are bound.
"""

import errno
import grp
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gunicorn import sock

from proxy.process import runtime_directory as runtime
from proxy.process import unix_sockets as unixsockets
from proxy.process.gunicorn_contract import DESCRIPTORS_VARIABLE
from proxy.process.privileges import owner
from proxy.process.unix_sockets import Permissions, UnixSocket
from proxy.settings import Address, Settings, SettingsError

_FIXES = {
    errno.EADDRINUSE: "in use by another program; stop it or choose another address",
    errno.EADDRNOTAVAIL: "not an address of this machine; use 0.0.0.0 for all of its addresses",
    errno.EACCES: (
        "permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE, a unix socket needs a directory that "
        "only root or the workers' account can write to"
    ),
    errno.ENOENT: "no such directory; create it",
    errno.EEXIST: "not a socket; remove it or choose another path",
}
_PROBE = 1.0  # seconds to find out whether a unix socket is served


class Role(Enum):
    """What a listener is for; the values are the names of inherited sockets."""

    FRONT = "front"
    PLAIN = "plain"
    """Plain HTTP beside TLS."""
    ADMIN = "admin"
    CONTROL = "control"
    """Commands, from accounts that may connect to its file."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The open listeners by role. Those in `named` were inherited with the name "plain", which overrides `bind`."""

    of: Mapping[Role, Sequence[Any]] = field(default_factory=dict)
    named: Sequence[Any] = ()

    @property
    def all(self) -> list[Any]:
        return [listener for role in Role for listener in self.of.get(role, ())]

    @property
    def clients(self) -> list[Any]:
        """The listeners for clients, plain ones last."""
        return [*self.of.get(Role.FRONT, ()), *self.of.get(Role.PLAIN, ())]

    def role(self, listener: Any) -> Role:
        """The role of a listener."""
        return next(role for role in Role if any(listener is one for one in self.of.get(role, ())))

    def one(self, role: Role) -> Any:
        """The only one with this role, or None."""
        return next(iter(self.of.get(role, ())), None)

    def is_admin(self, listener: Any) -> bool:
        """Whether a listener is for the admin address, or for commands."""
        return self.role(listener) in (Role.ADMIN, Role.CONTROL)

    def is_plain(self, listener: Any, settings: Settings) -> bool:
        """Whether a listener is for plain HTTP beside TLS."""
        return settings.secure and self.role(listener) is Role.PLAIN

    def url(self, listener: Any, settings: Settings) -> str:
        """A listener's address, with the scheme that clients use there."""
        return url(self.role(listener), address_of(listener), settings)

    def places(self) -> list[tuple[Role, Address]]:
        """The role of each and where it listens, which a closed one cannot tell."""
        return [(self.role(listener), address_of(listener)) for listener in self.all]

    def is_private(self, listener: Any, settings: Settings) -> bool:
        """Whether a client proves that it may send commands by being able to connect to a listener."""
        if self.role(listener) is Role.CONTROL:
            return True
        closed = settings.admin_token_file is None and not settings.socket_mode & 0o006
        return closed and bool(listener.FAMILY == socket.AF_UNIX)

    @property
    def names(self) -> str:
        """The names for a successor that inherits them, in the order of `all`; see `inherited_names`."""
        return ":".join(self.role(listener).value for listener in self.all)


class Tcp6Socket(sock.TCP6Socket):  # type: ignore[misc]
    """A listener on [::] accepts IPv4 too, whatever the system's default (net.ipv6.bindv6only)."""

    def set_options(self, sock: socket.socket, bound: bool = False) -> Any:
        if not bound:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        return super().set_options(sock, bound=bound)


def permissions(settings: Settings) -> Permissions:
    """Permissions of unix sockets for clients."""
    account = owner(settings)
    return Permissions(settings.socket_mode, *account, account)


def control_permissions(settings: Settings) -> Permissions:
    """Permissions of the command socket: for the account that starts the gateway, and for `admin_group`."""
    gid = grp.getgrnam(settings.admin_group).gr_gid if settings.admin_group else os.getegid()
    return Permissions(0o660 if settings.admin_group else 0o600, os.geteuid(), gid, None)


def inherited() -> bool:
    """Whether the process inherited sockets, from systemd or from the master that it upgrades."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) or DESCRIPTORS_VARIABLE in os.environ


def inherited_names() -> list[str]:
    """Names of the inherited sockets in order: FileDescriptorName= of a systemd unit."""
    return os.environ.get("LISTEN_FDNAMES", "").split(":") if inherited() else []


def adopt(listeners: Sequence[Any], names: Sequence[str], settings: Settings) -> Listeners:
    """Inherited listeners by name, the admin's also by its address. Those without a known name are for clients."""
    roles = {role.value: role for role in Role}
    found: dict[Role, list[Any]] = {role: [] for role in Role}
    for listener, name in zip(listeners, names if len(names) == len(listeners) else [""] * len(listeners), strict=True):
        found[roles.get(name, Role.FRONT)].append(listener)
        path = listener.getsockname()
        if isinstance(path, str):
            listener.identity = unixsockets.identity(path)
    if settings.admin and not found[Role.ADMIN]:
        found[Role.ADMIN] = [one for one in found[Role.FRONT] if _at(one, settings.admin)][:1]
        found[Role.FRONT] = [one for one in found[Role.FRONT] if one not in found[Role.ADMIN]]
    return Listeners(found, found[Role.PLAIN])


def check(addresses: Iterable[Address], settings: Settings) -> None:
    """Check whether addresses can be bound. Raises SettingsError with a line for each that cannot."""
    mistakes = []
    for address in addresses:
        try:
            _probe(address, settings)
        except OSError as problem:
            mistakes.append(mistake(address, problem))
    if mistakes:
        raise SettingsError(mistakes)


def mistake(address: Address, problem: OSError) -> str:
    """Why an address cannot be bound, with the fix."""
    return f"cannot listen on {address}: {_FIXES.get(problem.errno or 0) or problem.strerror}"


def _probe(address: Address, settings: Settings) -> None:
    if address.path:
        for_commands = address.path == settings.admin_socket
        unixsockets.probe(address.path, None if for_commands else owner(settings), _PROBE)
        return
    with socket.socket(address.family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        probe.bind(address.sockaddr)


def added(settings: Settings, listeners: Listeners) -> list[Address]:
    """Addresses of the settings without a listener."""
    front = settings.bind + settings.bind_plain
    bound = _match(front, listeners.clients)
    missing = [address for address, listener in zip(front, bound, strict=True) if listener is None]
    if settings.admin and not _serves(listeners.one(Role.ADMIN), settings.admin):
        missing.append(settings.admin)
    control = listeners.one(Role.CONTROL)
    if settings.admin_socket not in ("auto", "off") and not _serves(control, Address(path=settings.admin_socket)):
        missing.append(Address(path=settings.admin_socket))
    return missing


Bind = Callable[[Address, Permissions], Any]
"""Makes a listener, or returns None if that fails."""

Adjust = Callable[[Any, Permissions], None]
"""Gives a listener that stays the permissions of the settings."""


def place(settings: Settings, before: Listeners, bind: Bind, adjust: Adjust, *, activated: bool) -> Listeners:
    """The listeners of clients and the admin address for the settings, keeping those already open.

    With socket activation (`activated`) systemd's sockets are the clients', whatever `bind` says.
    """
    allowed = permissions(settings)
    admin = before.one(Role.ADMIN)
    if activated:
        plain = [*before.named, *filter(None, _match(settings.bind_plain, before.clients))]
        front = [listener for listener in before.clients if listener not in plain]
        plain = [listener for listener in before.clients if listener in plain]
    else:
        addresses = settings.bind + settings.bind_plain
        present = _match(addresses, before.clients)
        made = [one or bind(address, allowed) for address, one in zip(addresses, present, strict=True)]
        front = [listener for listener in made[: len(settings.bind)] if listener]
        plain = [listener for listener in made[len(settings.bind) :] if listener]
        if settings.admin and not _serves(admin, settings.admin):
            admin = None
        for listener in filter(None, (*present, admin)):
            adjust(listener, allowed)
    if settings.admin and admin is None:
        admin = bind(settings.admin, allowed)
    admins = [admin] if settings.admin and admin else []
    return Listeners({Role.FRONT: front, Role.PLAIN: plain, Role.ADMIN: admins}, before.named)


def control(settings: Settings, placed: Listeners, before: Any, bind: Bind, adjust: Adjust) -> Any:
    """The command socket to go with the placed listeners: the present one if it can stay, or None if the settings
    want none. Raises OSError."""
    if settings.admin_socket == "off":
        return None
    path = settings.admin_socket
    if path == "auto":
        name = runtime.file_name(address_of(placed.one(Role.ADMIN) or placed.clients[0]))
        path = str(runtime.make_directory() / name)
    address, allowed = Address(path=path), control_permissions(settings)
    if before is not None and _at(before, address):
        adjust(before, allowed)
        return before
    unixsockets.probe(path, None, _PROBE)
    return bind(address, allowed)


def url(role: Role, address: Address, settings: Settings) -> str:
    """The address of a listener in this role, with the scheme that clients use there."""
    if address.path:
        return str(address)
    secure = settings.secure and role is Role.FRONT
    return f"{'https' if secure else 'http'}://{address}"


def address_of(listener: Any) -> Address:
    """Where a listener listens."""
    name = listener.getsockname()
    return Address(*name[:2]) if isinstance(name, tuple) else Address(path=os.fsdecode(name).replace("\0", "@", 1))


def adjust(listener: Any, allowed: Permissions) -> None:
    """Give a listener that stays the permissions of the settings. Raises OSError."""
    if isinstance(listener.getsockname(), str):
        unixsockets.adjust(listener, allowed)


def bound(address: Address, allowed: Permissions, config: Any, log: Any) -> Any:
    """A new listener. Raises OSError."""
    if address.path:
        return UnixSocket(address.path, config, log, allowed)
    return (Tcp6Socket if address.family == socket.AF_INET6 else sock.TCPSocket)(address.sockaddr, config, log)


def close(listener: Any, account: tuple[int, int] | None) -> None:
    """Close a listener. Raises OSError when the file of a unix socket cannot be removed."""
    try:
        if isinstance(listener.getsockname(), str):
            unixsockets.remove(listener, account)
    finally:
        listener.close()


def _serves(listener: Any, address: Address) -> bool:
    return listener is not None and (_at(listener, address) or _on_any_port(listener, address))


def _match(addresses: Sequence[Address], listeners: Sequence[Any]) -> list[Any]:
    """The listener of each address, or None.

    Port 0 matches whichever port the kernel chose: of a listener made for port 0, or of an inherited one, whose
    original address is unknown.
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
    if isinstance(name, tuple):
        return bool(name[:2] == address.sockaddr)
    return bool(name == address.sockaddr) and not unixsockets.is_lost(listener)


def _made_for(listener: Any, address: Address) -> bool:
    return bool(listener.cfg_addr == address.sockaddr) and not address.path


def _on_any_port(listener: Any, address: Address) -> bool:
    name = listener.getsockname()
    return (
        isinstance(name, tuple)
        and address.port == 0
        and name[0] == address.host
        and (listener.cfg_addr[1] == 0 or listener.cfg_addr == name)
    )


def renumber(listeners: Sequence[Any], first: int) -> None:
    """Give the listeners consecutive descriptor numbers from `first`, as socket activation requires at an exec."""
    copies = [os.dup(listener.fileno()) for listener in listeners]
    top = first + len(copies)
    while any(first <= copy < top for copy in copies):
        copies = [os.dup(copy) if first <= copy < top else copy for copy in copies]
    for number, copy in enumerate(copies, first):
        os.dup2(copy, number, inheritable=True)
