"""What TLS connections begin with: protocol versions, ciphers, and the certificate that a client asks for by name.

All connections begin with one context that is made in the master before it forks. Session tickets are sealed with its
keys, so every worker opens the tickets of every other, before and after a reload; but not when it changes what is
asked of clients, because a resumed session skips client authentication. As soon as the client has said which
name it came for (SNI, RFC 6066 section 3), the connection goes on with the context of the certificates for that name,
unless all names are served alike.
"""

import os
import ssl
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from proxy.net.certificate_set import NAMELESS, CertificateSet, Choice, KeyPair, choices, next_change, served, wildcard
from proxy.net.groups import restrict_groups

CIPHERS = ":".join(
    f"ECDHE-{signature}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for signature in ("ECDSA", "RSA")
)
"""Of TLS 1.2, those with forward secrecy and authenticated encryption, cheapest first; TLS 1.3 has no others."""

_PRIORITIZE_CHACHA = 0x200000
"""SSL_OP_PRIORITIZE_CHACHA, which Python has no name for: a client that puts ChaCha20 first has no AES in hardware."""

ACME_TLS = "acme-tls/1"

_TICKETS = 1  # of a TLS 1.3 handshake; each costs a signature's time, and clients rarely use a second
_MEMORY = "/dev/shm"  # noqa: S108 - memory, not disk


def context_of(pair: KeyPair, certificate_set: CertificateSet) -> ssl.SSLContext:
    """A server's context with this certificate. Raises `OSError` if OpenSSL refuses it or the authorities."""
    context = _context_for(certificate_set)
    load_pair(context, pair.chain, pair.key)
    return context


def _context_for(certificate_set: CertificateSet) -> ssl.SSLContext:
    context = _plain_context()
    _configure(context, certificate_set)
    if certificate_set.client_ca:
        context.load_verify_locations(cadata=certificate_set.client_ca)
    return context


def load_pair(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Give a context a certificate chain and its key. Raises `OSError` if OpenSSL refuses them.

    OpenSSL takes keys from files alone: it reads a private one in memory that is gone when this returns.
    """
    with tempfile.NamedTemporaryFile(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as file:
        file.write(chain + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


def validation_context(file: Path) -> ssl.SSLContext:
    """A context that only proves to an ACME authority that a name is served here (RFC 8737); `file` holds key
    and certificate. Raises `OSError`."""
    context = _plain_context()
    context.set_alpn_protocols([ACME_TLS])
    context.load_cert_chain(file)
    return context


def _plain_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(CIPHERS)
    restrict_groups(context)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA
    context.num_tickets = _TICKETS
    return context


def _configure(context: ssl.SSLContext, certificate_set: CertificateSet) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if certificate_set.oldest == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if certificate_set.http2 else ["http/1.1"])
    if not certificate_set.client_ca:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.verify_mode = ssl.CERT_REQUIRED if certificate_set.client_required else ssl.CERT_OPTIONAL


def _unrecognized() -> ssl.SSLContext:
    context = _plain_context()
    context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    return context


class TlsContexts:
    """The context that all connections begin with, and the one that each goes on with.

    Made once, in the master; `install` may be called as often as the keyring changes. Connections that have shaken
    hands keep what they have.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._begin()
        self._named: dict[str, ssl.SSLContext] = {}
        self._client_auth: tuple[str, bool] | None = None
        self._obtained: OrderedDict[str, tuple[float, ssl.SSLContext]] = OrderedDict()
        """By name, what was obtained on demand and its end; the name that was asked for last is the last."""
        self._certificate_set = CertificateSet()
        self._fresh = (0.0, 0.0)
        self.served: tuple[KeyPair, ...] = ()
        """The certificates that some client is sent."""

    def _begin(self) -> None:
        self.context = _plain_context()
        self.context.sni_callback = self._choose
        self.on_demand_context = _plain_context()
        """What connections begin with whose name has a certificate obtained on demand."""
        self.on_demand_context.sni_callback = self._choose_obtained
        self._loaded: set[str] = set()
        """Algorithms of the certificates in that context: one can be replaced there, but not be taken out."""

    def set_client_auth(self, certificate_set: CertificateSet) -> None:
        """Resume no sessions that began when other certificates, or none, were asked of clients.

        Their tickets can be told apart by the context's keys alone. A worker that makes a context anew shares its keys
        with no other until the workers are replaced.
        """
        client_auth = (certificate_set.client_ca, certificate_set.client_required)
        if self._client_auth not in (None, client_auth):
            self._begin()
        self._client_auth = client_auth

    def install(self, certificate_set: CertificateSet) -> list[tuple[KeyPair, OSError]]:
        """Serve these certificates from now on; once more when `stale`.

        Returns those that OpenSSL refuses, which are left out. Raises `OSError` if none is left, or if it refuses the
        authorities of clients' certificates; then nothing has changed.
        """
        now = self._clock()
        found, made, refused = _contexts(certificate_set, now)
        if refused and not made:
            raise next(iter(refused.values()))
        self.set_client_auth(certificate_set)
        self._named = {name: made[choice] for name, choice in found.items()}
        self.served = served(found)
        self._fresh = (now, next_change(certificate_set.pairs, now))
        _configure(self.context, certificate_set)
        _configure(self.on_demand_context, certificate_set)
        self._certificate_set = certificate_set
        self._obtained.clear()  # those were made for the former settings
        # Where all are served alike nothing need be chosen, which costs 20 us of the 250 that a handshake takes.
        alike = len(set(found.values())) == 1 and not certificate_set.client_ca and self._takes(self.served)
        self.context.sni_callback = None if alike else self._choose
        return list(refused.items())

    @property
    def stale(self) -> bool:
        """Whether another choice among the same certificates is due, because one has expired or begun."""
        begins, ends = self._fresh
        return not begins <= self._clock() < ends

    def _takes(self, pairs: Iterable[KeyPair]) -> bool:
        """Whether the first context could be given these certificates and has no others."""
        algorithms = {pair.algorithm for pair in pairs}
        if not self._loaded <= algorithms:
            return False
        self._loaded = algorithms
        try:
            for pair in pairs:
                load_pair(self.context, pair.chain, pair.key)
        except OSError:
            return False
        return True

    def context_for(self, name: str | None) -> ssl.SSLContext | None:
        """The context for a host: of certificates for its name, else of a wildcard's, else the first; without a name
        of the first certificate for an address, else the first."""
        named = self._named
        if name is None:
            return named.get(NAMELESS) or named.get("")
        name = name.lower()
        return named.get(name) or named.get(wildcard(name)) or named.get("")

    def knows(self, name: str) -> bool:
        """Whether one of the installed certificates is for a host, whose name is in lower case."""
        return name in self._named or wildcard(name) in self._named

    # Names whose certificates are obtained on demand: not installed, but added when a client asks for them.

    most_obtained = 512
    """Contexts in memory; the one that was not asked for longest makes room."""

    def has_obtained(self, name: str) -> bool:
        """Whether there is one for a name that has not expired."""
        ends, _ = self._obtained.get(name, (0.0, None))
        return self._clock() < ends

    def add_obtained(self, name: str, pair: KeyPair) -> None:
        """Serve a name with this certificate. Raises `OSError` if OpenSSL refuses it."""
        self._obtained[name] = pair.expires, context_of(pair, self._certificate_set)
        self._obtained.move_to_end(name)
        if len(self._obtained) > self.most_obtained:
            self._obtained.popitem(last=False)

    def refusing(self) -> ssl.SSLContext:
        """For a name that gets no certificate: that of the first name, else one that only sends the
        alert `unrecognized_name` (RFC 6066 section 3)."""
        return self.context if any(not pair.stands_in for pair in self.served) else _unrecognized()

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        chosen = self.context_for(name)
        if chosen is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = chosen
        return None

    def _choose_obtained(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        found = self._obtained.get((name or "").lower())
        if found is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        self._obtained.move_to_end((name or "").lower())
        connection.context = found[1]
        return None


def _contexts(
    certificate_set: CertificateSet, now: float
) -> tuple[dict[str, Choice], dict[Choice, ssl.SSLContext], dict[KeyPair, OSError]]:
    """The choice for each name and the context for each choice, without the certificates that OpenSSL refuses.

    Raises `OSError` if it refuses the authorities of clients' certificates.
    """
    refused: dict[KeyPair, OSError] = {}
    while True:
        taken = [pair for pair in certificate_set.pairs if pair not in refused]
        found = choices(taken, now)
        made = {choice: _context_for(certificate_set) for choice in found.values()}
        for choice, context in made.items():
            for pair in choice:
                try:
                    load_pair(context, pair.chain, pair.key)
                except OSError as error:
                    refused[pair] = error
        if not any(pair in refused for pair in taken):
            return found, made, refused


def ignore_unreadable_names() -> None:
    """Let no client write into the error log by a server name that is not ASCII.

    Python's `ssl` can raise that nowhere, and prints a traceback; the handshake fails and is counted all the same.
    """
    report = sys.unraisablehook

    def report_others(found: "sys.UnraisableHookArgs") -> None:
        # The name is the object; from Python 3.14 on it is in the message, which names the callback.
        named = isinstance(found.object, bytes) or "ssl servername callback" in (found.err_msg or "")
        if not (isinstance(found.exc_value, UnicodeDecodeError) and named):
            report(found)

    sys.unraisablehook = report_others
