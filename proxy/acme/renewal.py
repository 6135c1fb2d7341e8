"""When to obtain and renew certificates: the schedule of one worker.

Every worker has one. The state directory records which certificates exist and how long to wait after failures; the
worker that finds one due and gets the lock there obtains it, in a thread, while its loop goes on. The master notices
the new file and distributes it to all workers. Until then the previous certificate is served.
"""

import random
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.util import wrap_errors

from proxy.acme.state import LONGEST_WAIT, Failures, State
from proxy.net.certificate_set import KeyPair
from proxy.settings import Settings

_LOOK = 30.0
"""Seconds between two checks, with some jitter so that workers do not check at once."""

_FIRST_LOOK = 1.0
_FIRST_WAIT = 120.0  # seconds after a failure; doubles each time. Authorities allow few failures per hour.
_AT_ONCE = 4
_LONGEST_CHALLENGE = 600.0  # seconds: no validation takes longer
_LONGEST_PAUSE = 6 * 3600.0
_MOST_DOUBLED = 10
_SPREAD = 0.02  # of the lifetime, so that machines set up together do not renew together
_HINT = " (the name must resolve to this machine, with port 80 leading to --bind-plain or port 443 to --bind)"


def due(pair: KeyPair | None) -> float:
    """When to renew a certificate (unix seconds): at about two thirds of its lifetime."""
    if pair is None:
        return 0.0
    life = pair.expires - pair.begins
    spread = int.from_bytes(sha256(pair.chain).digest()[:4], "big") / 2**32 * _SPREAD
    return pair.begins + life * (2 / 3 - spread)


def pause(failures: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after this many consecutive failures."""
    doubled = min(max(failures - 1, 0), _MOST_DOUBLED)
    return min(_FIRST_WAIT * 2.0**doubled, _LONGEST_PAUSE) * (0.8 + 0.4 * chance())


def challenge_kinds(settings: Settings, failures: int) -> tuple[str, ...]:
    """The challenges to try, preferred first; the preference alternates with each failure."""
    if not settings.bind_plain:
        return ("tls-alpn-01",)
    return ("http-01", "tls-alpn-01") if failures % 2 == 0 else ("tls-alpn-01", "http-01")


def _wanted(settings: Settings) -> tuple[object, ...]:
    return (
        settings.acme,
        settings.domain,
        settings.acme_directory,
        settings.acme_ca,
        settings.state_dir,
        bool(settings.bind_plain),
    )


class Renewals:
    """Obtains and renews the certificates of these settings until it is stopped."""

    def __init__(self, settings: Settings, agent: str, log: Any) -> None:
        assert settings.state_dir is not None
        self._settings = settings
        self._state = State(settings.state_dir, settings.acme_directory)
        self._agent = agent
        self._log = log
        self._failures: dict[str, Failures] = {}
        """Those that could not be written to disk."""
        self._greenlet = gevent.spawn(self._run)

    def serve(self, settings: Settings) -> bool:
        """Whether these settings ask for the same certificates in the same way."""
        return _wanted(settings) == _wanted(self._settings)

    def stop(self) -> None:
        """Check no more; an order that a thread has begun is finished."""
        self._greenlet.kill(block=False)

    def _run(self) -> None:
        wait = _FIRST_LOOK
        contact_sent = False  # whether the authority has the contact address of these settings
        while True:
            gevent.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            wait = _LOOK
            try:
                self._look(send_contact=not contact_sent)
                contact_sent = True
            except OSError as problem:
                self._log.warning("certificate renewal failed: %s", problem)
            except Exception:  # noqa: BLE001 - otherwise all renewals would end unnoticed
                self._log.exception("certificate renewal failed")

    def _look(self, *, send_contact: bool) -> None:
        send_contact = send_contact and self._state.contact() not in (None, self._settings.acme)
        if not send_contact and not any(self._is_due(domain) for domain in self._settings.domain):
            return
        self._state.make()
        with self._state.lock() as ours:
            if not ours:
                return
            self._state.forget_challenges(time.time() - _LONGEST_CHALLENGE)
            # Checked again: another worker may have obtained some meanwhile.
            wanted = [domain for domain in self._settings.domain if self._is_due(domain)]
            if wanted or (send_contact and self._state.contact() != self._settings.acme):
                self._obtain_all(wanted)

    def _is_due(self, domain: str) -> bool:
        now = time.time()
        return due(self._state.pair(domain)) <= now and not self._known_failures(domain).forbid(now)

    def _known_failures(self, domain: str) -> Failures:
        return self._failures.get(domain) or self._state.failures(domain)

    def _obtain_all(self, domains: list[str]) -> None:
        """A few at a time, so that a domain that cannot be validated does not delay the others."""
        # Imported only by the worker that obtains a certificate, to save memory.
        from proxy.acme.order import Authority, NotObtained, register

        settings = self._settings
        authority = Authority(settings.acme_directory, settings.acme_ca, settings.acme, self._agent)
        try:
            _in_a_thread(register, authority, self._state)
        except NotObtained as problem:
            if not domains:
                self._log.warning("contact address not changed to %s: %s", settings.acme, problem)
            for domain in domains:
                self._failed(domain, str(problem), problem.wait)
            return
        Pool(_AT_ONCE).map(lambda domain: self._obtain(authority, domain), domains)

    def _obtain(self, authority: Any, domain: str) -> None:
        from proxy.acme.order import NotObtained, obtain

        kinds = challenge_kinds(self._settings, self._known_failures(domain).count)
        self._log.info("obtaining a certificate for %s from %s", domain, self._settings.acme_directory)
        try:
            _in_a_thread(obtain, authority, self._state, domain, kinds)
        except NotObtained as problem:
            self._failed(domain, f"{problem}{_HINT if problem.challenge else ''}", problem.wait)
        else:
            self._note(domain, Failures())
            self._log.info("obtained a certificate for %s", domain)

    def _failed(self, domain: str, reason: str, asked: float) -> None:
        """Wait longer after each failure, and at least as long as the authority asked."""
        count = self._known_failures(domain).count + 1
        wait = min(max(pause(count), asked), LONGEST_WAIT)
        now = time.time()
        self._note(domain, Failures(count, now + wait, now))
        self._log.warning("no certificate for %s: %s; next attempt in %d s", domain, reason, wait)

    def _note(self, domain: str, failures: Failures) -> None:
        self._failures.pop(domain, None)
        try:
            self._state.note_failures(domain, failures)
        except OSError as problem:
            self._failures[domain] = failures
            self._log.warning("cannot write %s: %s", self._state.root, problem.strerror)


def _in_a_thread(task: Callable[..., None], *arguments: object) -> None:
    """Run a blocking task in a thread. Raises what the task raises.

    The exception is returned first: for one raised in the thread the hub would print a traceback.
    """
    problem = gevent.get_hub().threadpool.apply(wrap_errors(Exception, task), arguments)
    if problem is not None:
        raise problem
