"""Certificates for names that are in no settings, ordered while the first client's handshake waits.

One worker's side. What a name has to pass, cheapest first; the first that fails refuses the handshake:

    a host name ──► room to wait ──► no pause after a failure ──► the client's rate ──► the operator's service ──►
    no other worker orders it ──► the largest number of names ──► the rate of orders ──► the authorities in turn

Workers order the names that clients bring them. A lock for each name sees to it that one of them does, and the others
find the certificate in the state directory, where it is kept and renewed like any other. An order goes on when its
clients have left. A name that has its certificate costs one look into a dictionary, and every half minute one at the
time of its file.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore

from proxy.acme.demanded_names import DemandedNames
from proxy.acme.issuer import Issuer
from proxy.acme.names import is_orderable
from proxy.acme.permission import Answer, Permission
from proxy.acme.refused_names import RefusedNames
from proxy.acme.shared_store import StoreLost
from proxy.net.certificate_set import KeyPair, Lifetime
from proxy.net.tls_contexts import TlsContexts
from proxy.settings import Settings

WAIT = 60.0
"""Seconds that a handshake waits for an order."""

_LONGEST_ORDER = 300.0  # seconds, until another worker's is no longer waited for
_MOST_ORDERED = 64  # names at once
_MOST_WAITING = 512  # handshakes
_MOST_WAITING_FOR_ONE = 64
_ORDERS_AT_ONCE = 4
_LOOK = 30.0  # seconds between two looks at the file of a certificate that is served
_POLL = 0.25  # seconds between two looks at what another worker orders
_LOUD = 60.0  # seconds between two warnings

Serve = Callable[[bool], None]
"""Goes on with a handshake: whether there is a certificate for its name now."""


class Outcome(Enum):
    """What became of a handshake for a name without a certificate."""

    SERVED = "served"  # after its order
    NAME = "name"  # no certificate may be ordered for such a name
    BUSY = "busy"  # too many names or handshakes wait already
    FAILED = "failed"  # the authorities issued none, now or a short while ago
    RATE = "rate"  # too many new names in that time
    DENIED = "denied"  # the operator's service says no
    UNKNOWN = "unknown"  # it says nothing that can be used
    FULL = "full"  # there are as many names as the settings allow


@dataclass(frozen=True, slots=True)
class Admission:
    """What a worker's other parts know: `client` whether this address may bring one more name, `order` whether one more
    order may begin now, `count` counts outcomes, `ordered` whether an order brought a certificate."""

    client: Callable[[str], bool]
    order: Callable[[], bool]
    count: Callable[[Outcome], None]
    ordered: Callable[[bool], None]


@dataclass(slots=True)
class _Served:
    """A certificate in use: its file's stamp, and when to look at it again (monotonic seconds)."""

    stamp: object
    look: float


class OnDemand:
    """One worker's orders. `tls_contexts` gets what was obtained."""

    def __init__(
        self,
        settings: Settings,
        issuers: list[Issuer],
        permission: Permission,
        tls_contexts: TlsContexts,
        admission: Admission,
        log: Any,
    ) -> None:
        self._most = settings.on_demand_names
        self._permission = permission
        self.adopt(settings, issuers)
        self._contexts = tls_contexts
        self._admission = admission
        self._log = log
        self._served: dict[str, _Served] = {}
        self._flights: dict[str, list[Serve]] = {}
        """By name, the handshakes that wait for it."""
        self._waiting = 0
        self._turns = BoundedSemaphore(_ORDERS_AT_ONCE)
        self._refused: RefusedNames[Outcome] = RefusedNames()
        self._warned = -_LOUD

    def adopt(self, settings: Settings, issuers: list[Issuer]) -> None:
        """Ask these authorities from now on; the domains of the settings are renewed as theirs."""
        self._issuers = issuers
        self.names = DemandedNames(issuers, self._permission, frozenset(settings.domain))

    def serves(self, name: str) -> bool:
        """Whether there is a certificate for a name that clients are shown; read now, if it is new here."""
        served = self._served.get(name)
        if served is not None and monotonic() < served.look and self._contexts.has_obtained(name):
            return True
        return is_orderable(name) and name in self.names and self._read(name)

    def request(self, name: str, client: str, serve: Serve) -> bool:
        """Order a certificate for a name. Whether `serve` will be called; if not, the handshake is refused."""
        flight = self._flights.get(name)
        if flight is None:
            refusal = self._refusal(name, client)
            if refusal is not None:
                self._refuse(name, refusal)
                return False
            flight = self._flights[name] = []
            gevent.spawn(self._fly, name, flight)
        if len(flight) >= _MOST_WAITING_FOR_ONE or self._waiting >= _MOST_WAITING:
            self._refuse(name, Outcome.BUSY)
            return False
        self._waiting += 1
        flight.append(serve)
        return True

    def report(self) -> dict[str, Any]:
        """For those that read the status: the names whose certificates expire first, and those that got none last."""
        return {
            "on_demand_certificates": [
                {"name": name, **lifetime._asdict(), "fault": self.names.fault(name)}
                for name, lifetime in self.names.next_to_expire()
            ],
            "on_demand_refused": [
                {
                    "name": one.name,
                    "when": round(one.when, 3),
                    "outcome": one.outcome.value,
                    "reason": self.names.fault(one.name) if one.outcome is Outcome.FAILED else one.reason,
                }
                for one in self._refused
            ],
        }

    def _refuse(self, name: str, outcome: Outcome) -> None:
        self._admission.count(outcome)
        self._refused.note(name, outcome, self._permission.fault if outcome is Outcome.UNKNOWN else "")

    def _refusal(self, name: str, client: str) -> Outcome | None:
        """Why nothing is ordered, as far as that is known without waiting."""
        if not is_orderable(name):
            return Outcome.NAME
        if len(self._flights) >= _MOST_ORDERED or self._waiting >= _MOST_WAITING:
            return Outcome.BUSY
        if not self._may_try(name):
            return Outcome.FAILED
        known = self._permission.known(name)
        if known is Answer.DENIED:
            return Outcome.DENIED
        if known is Answer.UNKNOWN:
            return Outcome.UNKNOWN
        if known is None and not self._admission.client(client):
            return Outcome.RATE
        return None

    def _fly(self, name: str, flight: list[Serve]) -> None:
        outcome = Outcome.FAILED
        try:
            outcome = self._outcome(name)
        except StoreLost:
            pass
        except Exception:  # noqa: BLE001 - the handshakes are to go on whatever happened
            self._log.exception("no certificate for %s", name)
        finally:
            del self._flights[name]
            self._waiting -= len(flight)
            for serve in flight:
                if outcome is Outcome.SERVED:
                    self._admission.count(outcome)
                    self._refused.forget(name)
                else:
                    self._refuse(name, outcome)
                serve(outcome is Outcome.SERVED)

    def _outcome(self, name: str) -> Outcome:
        """Order, or wait for the worker that does."""
        answer = self._permission.known(name)
        if answer is not Answer.ALLOWED:
            answer = self._permission.ask(name)
        if answer is not Answer.ALLOWED:
            return Outcome.DENIED if answer is Answer.DENIED else Outcome.UNKNOWN
        for issuer in self._issuers:
            issuer.state.make()
        first = self._issuers[0]
        end = monotonic() + _LONGEST_ORDER
        while monotonic() < end and self._may_try(name):
            for issuer in self._issuers:
                issuer.refresh([name])
            if self.serves(name):
                return Outcome.SERVED
            with first.ordering(name) as ours:
                if ours:
                    for issuer in self._issuers:
                        issuer.refresh([name])
                    return self._order(name)
            gevent.sleep(_POLL)
        return Outcome.FAILED

    def _order(self, name: str) -> Outcome:
        """With the lock: what another worker has just obtained is taken as it is."""
        if self.serves(name):
            return Outcome.SERVED
        if self._newest(name) is None:
            if name not in self.names and self.names.counted() >= self._most:
                self._warn(
                    "on_demand_names %d: reached; no certificate for %s; raise it, or allow fewer in on_demand_ask",
                    self._most,
                    name,
                )
                return Outcome.FULL
            if not self._admission.order():
                self._warn("on_demand_rate: reached; no certificate for %s now", name)
                return Outcome.RATE
            with self._turns:
                obtained = any(map(partial(_obtain, name), self._issuers))
            self._admission.ordered(obtained)
            if not obtained:
                return Outcome.FAILED
        self.names.add(name)
        self._issuers[0].refresh([name])
        return Outcome.SERVED if self._read(name) else Outcome.FAILED

    def _may_try(self, name: str) -> bool:
        now = time.time()
        return any(issuer.may_try(name, now) for issuer in self._issuers)

    def _newest(self, name: str) -> KeyPair | None:
        """The stored certificate that was issued last, if clients would still take it."""
        pairs = [pair for issuer in self._issuers if (pair := issuer.state.pair(name)) is not None]
        newest = max(pairs, key=lambda pair: pair.begins, default=None)
        return newest if newest is not None and time.time() < newest.expires else None

    def _read(self, name: str) -> bool:
        """Serve what is stored for a name. False without a usable certificate."""
        stamp = self._stamp(name)
        served = self._served.get(name)
        lifetime = None
        if served is None or served.stamp != stamp or not self._contexts.has_obtained(name):
            pair = self._newest(name)
            try:
                if pair is not None:
                    self._contexts.add_obtained(name, pair)
            except OSError as problem:
                self._log.warning("certificate for %s not served: OpenSSL refuses it: %s", name, problem)
                pair = None
            if pair is None:
                self._served.pop(name, None)
                return False
            lifetime = Lifetime(pair.expires, pair.begins)
        self._forget_surplus()
        self._served[name] = _Served(stamp, monotonic() + _LOOK)
        self.names.use(name, lifetime)
        return True

    def _forget_surplus(self) -> None:
        """Keep the looks at files to what there are contexts for."""
        if len(self._served) > 2 * self._contexts.most_obtained:
            self._served = {name: one for name, one in self._served.items() if self._contexts.has_obtained(name)}

    def _stamp(self, name: str) -> object:
        """What changes with the files of its certificates."""
        return tuple(map(_file_stamp, (issuer.state.certificate(name) for issuer in self._issuers)))

    def _warn(self, text: str, *facts: object) -> None:
        if monotonic() - self._warned >= _LOUD:
            self._warned = monotonic()
            self._log.warning(text, *facts)


def _obtain(name: str, issuer: Issuer) -> bool:
    return issuer.may_try(name, time.time()) and issuer.ready([name]) and issuer.obtain(name)


def _file_stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
