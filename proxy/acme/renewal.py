"""The schedule of certificates: when which domain is due, and the one worker of a machine that obtains for all.

Every worker looks, since any of them may end. Whichever gets the lock of the state directory, or of the directory that
several gateways share, obtains what is due. The authorities of the settings are tried in turn: what one does not issue,
the next is asked for at once. The lock of a name keeps from ordering what another schedule orders, or a handshake.
"""

import random
import time
from functools import partial
from itertools import compress
from typing import Any

import gevent
from gevent.pool import Pool

from proxy.acme.issuer import Issuer
from proxy.acme.names import Names
from proxy.acme.shared_store import StoreLost
from proxy.acme.timetable import due
from proxy.net.certificate_set import KeyPair
from proxy.settings import Settings

_AT_ONCE = 4
_FIRST_LOOK = 1.0
_SOON = 5.0
"""Seconds until the look after one that found another worker, or gateway, obtaining what is due, or no store."""


def _wanted(settings: Settings) -> tuple[object, ...]:
    return (
        settings.acme,
        settings.domain,
        settings.acme_servers,
        settings.state_dir,
        settings.shared_certificates,
        bool(settings.bind_plain),
        settings.acme_dns_hook,
        settings.acme_dns_server,
        settings.acme_dns_key,
        settings.acme_dns_wait,
    )


class Renewals:
    """Obtains and renews the certificates for some names, as these settings have it, until it is stopped."""

    def __init__(self, settings: Settings, names: Names, issuers: list[Issuer], log: Any) -> None:
        self._settings = settings
        self._names = names
        self._issuers = issuers
        self._log = log
        self._greenlet = gevent.spawn(self._run)

    def serve(self, settings: Settings) -> bool:
        """Whether these settings ask for the same certificates in the same way."""
        return _wanted(settings) == _wanted(self._settings)

    def stop(self) -> None:
        """Check no more; an order that a thread has begun is finished."""
        self._greenlet.kill(block=False)

    def _run(self) -> None:
        wait = _FIRST_LOOK
        contact_sent = False  # whether the authorities have the contact address of these settings
        while True:
            # The jitter keeps workers from checking at once.
            gevent.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            wait = self._names.every
            try:
                if not self._look(send_contact=not contact_sent):
                    wait = _SOON
                contact_sent = True
            except StoreLost:
                wait = _SOON  # logged once; the next look is a trial
            except OSError as problem:
                self._log.warning("certificate renewal failed: %s", problem)
            except Exception:  # noqa: BLE001 - otherwise all renewals would end unnoticed
                self._log.exception("certificate renewal failed")

    def _look(self, *, send_contact: bool) -> bool:
        """Do what is due. False if another worker is doing it."""
        old = [issuer for issuer in self._issuers if issuer.contact_is_old] if send_contact else []
        self._refresh()
        held = self._held()
        if not old and not self._due(held) and not _unasked(held):
            return True
        for issuer in self._issuers:
            issuer.state.make()
        with self._issuers[0].locked(self._names.lock) as ours:
            if not ours:
                return False
            self._refresh()
            for issuer in self._issuers:
                issuer.forget_leftovers()
            # Checked again after each step: another worker may have done it meanwhile.
            for issuer in old:
                if issuer.contact_is_old:
                    issuer.change_contact()
            for issuer, domains in _unasked(self._held()).items():
                issuer.ask_when_to_renew(domains)
            self._refresh()
            self._obtain([domain for domain in self._due(self._held()) if self._names.wanted(domain)])
        return True

    def _refresh(self) -> None:
        for issuer in self._issuers:
            issuer.refresh(self._names.all())

    def _obtain(self, domains: list[str]) -> None:
        """Ask one authority after the other, each for what those before have not issued: a few names at a time, so that
        one that cannot be validated does not delay the others."""
        for issuer in self._issuers:
            now = time.time()
            tried = [domain for domain in domains if issuer.may_try(domain, now)]
            if tried and issuer.ready(tried):
                settled = set(compress(tried, Pool(_AT_ONCE).map(partial(self._order, issuer), tried)))
                domains = [domain for domain in domains if domain not in settled]

    def _order(self, issuer: Issuer, domain: str) -> bool:
        """Whether no other authority is to be asked: there is a certificate, or another worker is ordering one."""
        with self._issuers[0].ordering(domain) as ours:
            if not ours:
                return True
            for one in self._issuers:
                one.refresh([domain])
            if not self._is_due(domain, *self._newest(domain)):
                return True
            return issuer.may_try(domain, time.time()) and issuer.obtain(domain)

    def _held(self) -> "Held":
        """The certificate for each domain that was issued last. Requests are served between two domains."""
        held = {}
        for domain in self._names.all():
            held[domain] = self._newest(domain)
            gevent.sleep(0)
        return held

    def _newest(self, domain: str) -> tuple[Issuer, KeyPair | None]:
        found = [(pair.begins, issuer, pair) for issuer in self._issuers if (pair := issuer.state.pair(domain))]
        _, issuer, pair = max(found, key=lambda one: one[0], default=(0, self._issuers[0], None))
        return issuer, pair

    def _due(self, held: "Held") -> list[str]:
        """The domains to obtain certificates for now."""
        return [domain for domain, (issuer, pair) in held.items() if self._is_due(domain, issuer, pair)]

    def _is_due(self, domain: str, issuer: Issuer, pair: KeyPair | None) -> bool:
        now = time.time()
        suggestion = issuer.state.suggestion(domain, pair) if pair is not None else None
        return due(pair, suggestion) <= now and any(one.may_try(domain, now) for one in self._issuers)


Held = dict[str, tuple[Issuer, KeyPair | None]]
"""For each domain the authority that its certificate is from, and the certificate."""


def _unasked(held: Held) -> dict[Issuer, list[str]]:
    """Domains whose authority has not been asked recently when to renew the certificate."""
    now = time.time()
    found: dict[Issuer, list[str]] = {}
    for domain, (issuer, pair) in held.items():
        if pair is not None and pair.valid(now) and not issuer.state.suggestion(domain, pair).fresh(now):
            found.setdefault(issuer, []).append(domain)
    return found
