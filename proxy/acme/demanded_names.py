"""The names that got a certificate because a client asked for it.

Each has a file `NAME.demand` beside its certificate, whose time is that of its last use. A name that no client asked
for in a month is forgotten. One that the service of `on_demand_ask` no longer allows is not renewed, and forgotten when
its certificate has expired.
"""

import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from heapq import nsmallest
from operator import attrgetter, itemgetter
from pathlib import Path

import gevent

from proxy.acme.issuer import Issuer
from proxy.acme.permission import Answer, Permission
from proxy.acme.state import Failures
from proxy.log import log
from proxy.net.certificate_set import Lifetime
from proxy.net.private_file import write_private

UNUSED = 30 * 86400.0
"""Seconds without a client after which a name is forgotten."""

_NOTED_EVERY = 3600.0  # seconds
_MOST_SHOWN = 20


class DemandedNames:
    """Those that some authorities have issued for, of which the first keeps the marks.

    Names that have moved into the settings (`domains`) are theirs, and never forgotten.
    """

    every = 600.0
    lock = "on-demand.lock"

    def __init__(self, issuers: list[Issuer], permission: Permission, domains: Collection[str] = ()) -> None:
        self._issuers = issuers
        self._states = [issuer.state for issuer in issuers]
        self._permission = permission
        self._domains = domains
        self.count = 0
        """How many there were when they were counted last."""
        self._lifetimes: dict[str, Lifetime] = {}

    def __contains__(self, name: str) -> bool:
        return os.path.exists(self._states[0].demand(name))  # noqa: PTH110 - a handshake asks: it raises nothing

    def counted(self) -> int:
        """How many there are now."""
        self.count = sum(1 for _ in self._marked())
        return self.count

    def add(self, name: str) -> None:
        """A certificate was obtained for it. Raises `OSError`."""
        write_private(self._states[0].demand(name), b"")
        self.counted()

    def use(self, name: str, lifetime: Lifetime | None = None) -> None:
        """A client has asked for it, and is served what lives so long; None: what was served before."""
        if lifetime is not None:
            self._lifetimes[name] = lifetime
        mark = self._states[0].demand(name)
        with suppress(OSError):
            if time.time() - mark.stat().st_mtime > _NOTED_EVERY:
                os.utime(mark)

    def all(self) -> Iterable[str]:
        """Those in use; the others are forgotten. Raises `OSError`."""
        now = time.time()
        found: dict[str, Lifetime] = {}
        for name in list(self._marked()):
            try:
                unused = now - self._states[0].demand(name).stat().st_mtime > UNUSED
            except FileNotFoundError:
                continue
            pairs = [pair for state in self._states if (pair := state.pair(name)) is not None]
            last = max((Lifetime(pair.expires, pair.begins) for pair in pairs), default=Lifetime(0, 0))
            if last.expires > now and not unused:
                found[name] = last
            else:
                log.info("forgetting %s: %s", name, "no client asked for it" if unused else "its certificate expired")
                for issuer in self._issuers:
                    issuer.forget(name)
            gevent.sleep(0)
        for issuer in self._issuers:
            issuer.forget_leftovers()  # names without a certificate leave files, too
        self.count = len(found)
        self._lifetimes = found
        return list(found)

    def next_to_expire(self) -> list[tuple[str, Lifetime]]:
        """The names that expire first, with the lifetimes of their certificates, as far as this worker knows: it looks
        at all every ten minutes, and at those that it serves when their certificates change."""
        return nsmallest(_MOST_SHOWN, self._lifetimes.items(), key=itemgetter(1))

    def fault(self, name: str) -> str:
        """Why the attempts to obtain a certificate for a name fail, if they do since it has its present one."""
        obtained = max(_written(state.certificate(name)) for state in self._states)
        since = [one for issuer in self._issuers if (one := issuer.failures(name)).noted > obtained]
        return max(since, key=attrgetter("noted"), default=Failures()).reason

    def wanted(self, name: str) -> bool:
        """Whether the service still allows it."""
        return self._permission.ask(name) is Answer.ALLOWED

    def _marked(self) -> Iterator[str]:
        return (name for name in self._states[0].demanded() if name not in self._domains)


def _written(file: Path) -> float:
    """When (unix seconds); 0 for one that is not there."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
