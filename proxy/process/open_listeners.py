"""The listeners of the master: opened, kept and closed as the settings change. Faults are logged, never raised."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from proxy.process import listeners
from proxy.process.listeners import Listeners, Role
from proxy.process.privileges import owner
from proxy.process.unix_sockets import Permissions
from proxy.settings import Address, Settings


class OpenListeners:
    """Those that are open now, in `open`."""

    def __init__(self) -> None:
        self.open = Listeners()
        self._log: Any = None
        self._config: Any = None

    def log_to(self, log: Any, config: Any) -> None:
        """Use this log, and gunicorn's settings `config` for new sockets."""
        self._log, self._config = log, config

    def place(self, settings: Settings, *, activated: bool, starting: bool = False) -> None:
        """Open what the settings name, keep what stays, close the rest; see `listeners.place` on `activated`.

        New listeners are logged, unless the gateway is `starting`: the first line of its log names them all.
        """
        before = self.open
        self.open = listeners.place(settings, before, self._bind, self._adjust, activated=activated)
        control = self._control(settings, before.one(Role.CONTROL))
        if control is not None:
            self.open = replace(self.open, of={**self.open.of, Role.CONTROL: [control]})
        for listener in self.open.all:
            if listener not in before.all and not starting:
                self._log.info("Listening at: %s", self.open.url(listener, settings))
        for listener in before.all:
            if listener not in self.open.all:
                self._log.info("No longer listening at: %s", before.url(listener, settings))
                self._close(listener, before.role(listener), settings)

    def close_unix_sockets(self, roles: Sequence[Role], settings: Settings) -> list[Any]:
        """At the end of the service: remove the unix sockets of these roles. Returns the listeners that are left."""
        left = self.open.all
        for listener in self.open.all:
            if self.open.role(listener) in roles and isinstance(listener.getsockname(), str):
                self._close(listener, self.open.role(listener), settings)
                left.remove(listener)
        return left

    def _control(self, settings: Settings, before: Any) -> Any:
        try:
            return listeners.control(settings, self.open, before, self._bind, self._adjust)
        except OSError as problem:
            self._log.warning(
                "no socket for commands (--admin-socket %s): %s: %s; commands need the token",
                settings.admin_socket,
                problem.filename or "its file",
                problem.strerror,
            )
            return None

    def _bind(self, address: Address, allowed: Permissions) -> Any:
        try:
            return listeners.bound(address, allowed, self._config, self._log)
        except OSError as problem:
            self._log.error(listeners.mistake(address, problem))
            return None

    def _adjust(self, listener: Any, allowed: Permissions) -> None:
        try:
            listeners.adjust(listener, allowed)
        except OSError as problem:
            self._log.warning("permissions of %s not changed: %s", listener, problem.strerror)

    def _close(self, listener: Any, role: Role, settings: Settings) -> None:
        try:
            listeners.close(listener, None if role is Role.CONTROL else owner(settings))
        except OSError as problem:
            self._log.warning("socket file of %s not removed: %s", listener, problem.strerror)
