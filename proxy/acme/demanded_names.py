"""The names that got a certificate because a client asked for it.

Each has a file `NAME.demand` beside its certificate, whose time is that of its last use. A name that no client asked
for in a month is forgotten. One that the service of `on_demand_ask` no longer allows is not renewed, and forgotten when
its certificate has expired.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

import gevent

from proxy.acme.issuer import Issuer
from proxy.acme.permission import Answer, Permission
from proxy.log import log
from proxy.net.private_file import write_private

UNUSED = 30 * 86400.0
"""Seconds without a client after which a name is forgotten."""

_NOTED_EVERY = 3600.0  # seconds


class DemandedNames:
    """Those that some authorities have issued for, of which the first keeps the marks."""

    every = 600.0
    lock = "on-demand.lock"

    def __init__(self, issuers: list[Issuer], permission: Permission) -> None:
        self._issuers = issuers
        self._states = [issuer.state for issuer in issuers]
        self._permission = permission
        self.count = 0
        """How many there were when they were counted last."""

    def __contains__(self, name: str) -> bool:
        return self._states[0].demand(name).exists()

    def counted(self) -> int:
        """How many there are now."""
        self.count = sum(1 for _ in self._marked())
        return self.count

    def add(self, name: str) -> None:
        """A certificate was obtained for it. Raises `OSError`."""
        write_private(self._states[0].demand(name), b"")
        self.counted()

    def use(self, name: str) -> None:
        """A client has asked for it."""
        mark = self._states[0].demand(name)
        with suppress(OSError):
            if time.time() - mark.stat().st_mtime > _NOTED_EVERY:
                os.utime(mark)

    def all(self) -> Iterable[str]:
        """Those in use; the others are forgotten. Raises `OSError`."""
        now = time.time()
        found = []
        for name in list(self._marked()):
            try:
                unused = now - self._states[0].demand(name).stat().st_mtime > UNUSED
            except FileNotFoundError:
                continue
            valid = any(pair.expires > now for state in self._states if (pair := state.pair(name)) is not None)
            if valid and not unused:
                found.append(name)
            else:
                log.info("forgetting %s: %s", name, "no client asked for it" if unused else "its certificate expired")
                for issuer in self._issuers:
                    issuer.forget(name)
            gevent.sleep(0)
        for issuer in self._issuers:
            issuer.forget_leftovers()  # names without a certificate leave files, too
        self.count = len(found)
        return found

    def wanted(self, name: str) -> bool:
        """Whether the service still allows it."""
        return self._permission.ask(name) is Answer.ALLOWED

    def _marked(self) -> Iterator[str]:
        return self._states[0].demanded()
