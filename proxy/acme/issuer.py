"""An authority beside what is kept of it: what is due there, and the requests to it, each in a thread of its own."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import Any

from gevent.pool import Pool
from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors

from proxy.acme.shared_store import SharedStore, StoreLost, synchronise
from proxy.acme.state import LONGEST_WAIT, Failures, State
from proxy.acme.timetable import pause
from proxy.net.certificate_set import is_address
from proxy.settings import AcmeServer, Settings

_AT_ONCE = 4
_THREADS = 16
"""Both schedules and what handshakes order make a few requests at once each."""
_MOST_UNWRITTEN = 4096
_HINT = " (the name must resolve to this machine, with port 80 leading to --bind-plain or port 443 to --bind)"


class Issuer:
    """One of the authorities that the settings name. Its methods block the calling greenlet alone."""

    def __init__(
        self, server: AcmeServer, settings: Settings, agent: str, log: Any, store: SharedStore | None = None
    ) -> None:
        """`store` is the directory that several gateways share, if they do."""
        assert settings.state_dir is not None
        self.state = State(settings.state_dir, server.directory)
        """What this gateway serves."""
        self._store = store
        self._kept = self.state if store is None else State(store.directory, server.directory)
        """Where account, certificates and challenges are kept; only threads may touch it."""
        self._server = server
        self._settings = settings
        self._agent = agent
        self._log = log
        self._failures: dict[str, Failures] = {}
        """Those that could not be written to disk; of many the newest."""

    def may_try(self, domain: str, now: float) -> bool:
        """Whether enough time has passed since the last failure."""
        return not self.failures(domain).forbid(now)

    def failures(self, domain: str) -> Failures:
        """Those to obtain a certificate for a domain since the last success."""
        return self._failures.get(domain) or self.state.failures(domain)

    def refresh(self, names: Iterable[str]) -> None:
        """Take over what other gateways have obtained for these names, and give them what is newer here. Raises
        `OSError`."""
        if self._store is not None:
            self._store.run(synchronise, self._kept, self.state, list(names))

    @contextmanager
    def locked(self, name: str) -> Iterator[bool]:
        """Whether this worker got a lock, of all workers of all gateways that share certificates. Raises `OSError`."""
        if self._store is None:
            with self.state.lock(name) as ours:
                yield ours
            return
        file = self._store.run(self._kept.acquire, name)
        try:
            yield file is not None
        finally:
            if file is not None:
                with suppress(StoreLost):
                    self._store.run(file.close)

    def forget(self, name: str) -> None:
        """Remove all that is kept of a name. Raises `OSError`."""
        self.state.forget(name)
        if self._store is not None:
            self._store.run(self._kept.forget, name)

    def forget_leftovers(self) -> None:
        """See `State.forget_leftovers`. Raises `OSError`."""
        now = time.time()
        self.state.forget_leftovers(now)
        if self._store is not None:
            self._store.run(self._kept.forget_leftovers, now)

    @property
    def contact_is_old(self) -> bool:
        """Whether there is an account with another contact address than that of the settings."""
        return self.state.contact() not in (None, self._settings.acme)

    def change_contact(self) -> None:
        """Give the account the contact address of the settings."""
        from proxy.acme.account import NotObtained, register

        try:
            _in_a_thread(register, self._asked(), self._kept)
        except NotObtained as problem:
            self._log.warning("contact address not changed to %s: %s", self._settings.acme, problem)

    def ask_when_to_renew(self, domains: Iterable[str]) -> None:
        """Ask when the certificates of these domains are to be renewed; after a failure, the rest another time."""
        from proxy.acme.account import NotObtained
        from proxy.acme.renewal_info import ask_when_to_renew

        answers = True

        def ask(domain: str) -> None:
            nonlocal answers
            if not answers:
                return
            try:
                _in_a_thread(ask_when_to_renew, self._asked(), self._kept, domain)
            except (NotObtained, OSError) as problem:
                answers = False
                self._log.info("no renewal information for %s: %s", domain, problem)

        Pool(_AT_ONCE).map(ask, domains)

    def ready(self, domains: Iterable[str]) -> bool:
        """Whether there is an account to order with; if not, that is a failure of these domains."""
        # Imported only by the worker that obtains a certificate, to save memory.
        from proxy.acme.account import NotObtained, register

        try:
            _in_a_thread(register, self._asked(), self._kept)
        except NotObtained as problem:
            for domain in domains:
                self._failed(domain, str(problem), problem.wait)
            return False
        return True

    def ordering(self, domain: str) -> AbstractContextManager[bool]:
        """Whether this worker alone may order a certificate for a domain, of all workers, gateways and authorities, for
        the duration of the block. Raises `OSError`."""
        return self.locked(self.state.order_lock(domain))

    def obtain(self, domain: str) -> bool:
        """Whether a certificate was obtained. Not without the lock of `ordering`."""
        from proxy.acme.account import NotObtained
        from proxy.acme.dns import dns_challenges
        from proxy.acme.order import obtain

        kinds = challenge_kinds(self._settings, domain, self.failures(domain).count)
        self._log.info("obtaining a certificate for %s from %s", domain, self._server.directory)
        try:
            _in_a_thread(obtain, self._asked(), self._kept, domain, kinds, dns_challenges(self._settings))
        except NotObtained as problem:
            self._failed(domain, f"{problem}{_HINT if problem.challenge else ''}", problem.wait)
            return False
        self._note(domain, Failures())
        with suppress(StoreLost):
            self.refresh([domain])
        self._log.info("obtained a certificate for %s", domain)
        return True

    def _asked(self) -> Any:
        from proxy.acme.account import Authority

        server, email = self._server, self._settings.acme
        return Authority(
            server.directory, server.ca, email, self._agent, server.eab_kid, server.eab_key, server.profile
        )

    def _failed(self, domain: str, reason: str, asked: float) -> None:
        """Wait longer after each failure, and at least as long as the authority asked."""
        count = self.failures(domain).count + 1
        wait = min(max(pause(count), asked), LONGEST_WAIT)
        now = time.time()
        self._note(domain, Failures(count, now + wait, now, reason))
        self._log.warning("no certificate for %s: %s; next attempt in %d s", domain, reason, wait)

    def _note(self, domain: str, failures: Failures) -> None:
        self._failures.pop(domain, None)
        if len(self._failures) >= _MOST_UNWRITTEN:
            del self._failures[next(iter(self._failures))]
        try:
            self.state.note_failures(domain, failures)
            if self._store is not None:
                self._store.run(self._kept.note_failures, domain, failures)
        except StoreLost:
            self._failures[domain] = failures
        except OSError as problem:
            self._failures[domain] = failures
            self._log.warning("cannot write %s: %s", self.state.root, problem.strerror)


def challenge_kinds(settings: Settings, domain: str, failures: int) -> tuple[str, ...]:
    """The challenges to try for a domain, preferred first; the preference changes with each failure.

    A wildcard can be validated through DNS alone (RFC 8555 section 7.1.3), an address not at all through it (RFC 8738
    section 7).
    """
    by_dns = ("dns-01",) if settings.acme_dns_hook or settings.acme_dns_server else ()
    if domain.startswith("*."):
        return by_dns
    by_http = ("http-01",) if settings.bind_plain else ()
    kinds = (*(() if is_address(domain) else by_dns), *by_http, "tls-alpn-01")
    first = failures % len(kinds)
    return (*kinds[first:], *kinds[:first])


def _in_a_thread(task: Callable[..., None], *arguments: object) -> None:
    """Run a blocking task in a thread. Raises what the task raises.

    The exception is returned first: for one raised in the thread the hub would print a traceback.
    """
    problem = _threads().apply(wrap_errors(Exception, task), arguments)
    if problem is not None:
        raise problem


@cache
def _threads() -> ThreadPool:
    """Made in a worker, when it is needed first. An authority may take minutes to answer, and so it gets none of the
    hub's threads, which resolve names."""
    return ThreadPool(_THREADS)
