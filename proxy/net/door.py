"""What TLS connections begin with: protocol versions, ciphers, and the certificate that a client asks for by name.

All connections begin with one context that is made in the master before it forks. Session tickets are sealed with its
keys, so every worker opens the tickets of every other, before and after a reload; but not when it changes what is
asked of clients, because who resumes a session shows no certificate again. As soon as the client has said which
name it came for (SNI, RFC 6066 section 3), the connection goes on with the context of the certificate for that name,
unless there is but one certificate.
"""

import os
import ssl
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain and its key, PEM; the names it is for and its first and last moment (unix seconds)."""

    chain: bytes
    key: bytes
    names: tuple[str, ...]
    begins: int
    expires: int

    @property
    def name(self) -> str:
        """What to call it."""
        return self.names[0] if self.names else "unnamed"


@dataclass(frozen=True, slots=True)
class Keyring:
    """Everything that TLS connections need to know of the settings, files included.

    `client_ca` is PEM text; without it clients are not asked for certificates.
    """

    pairs: tuple[KeyPair, ...] = ()
    oldest: str = "1.2"
    http2: bool = False
    client_ca: str = ""
    client_required: bool = True

    @property
    def expiries(self) -> Mapping[str, int]:
        """Unix seconds by certificate's name; of two with one name the earlier."""
        found: dict[str, int] = {}
        for pair in self.pairs:
            found[pair.name] = min(pair.expires, found.get(pair.name, pair.expires))
        return found


def context_of(pair: KeyPair, keyring: Keyring) -> ssl.SSLContext:
    """A server's context with this certificate. Raises `ssl.SSLError` if OpenSSL refuses it or the authorities."""
    context = _plain_context()
    _configure(context, keyring)
    if keyring.client_ca:
        context.load_verify_locations(cadata=keyring.client_ca)
    _load(context, pair)
    return context


def _load(context: ssl.SSLContext, pair: KeyPair) -> None:
    """OpenSSL takes keys from files alone: it reads a private one in memory that is gone when this returns."""
    with tempfile.NamedTemporaryFile(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as file:
        file.write(pair.chain + b"\n" + pair.key)
        file.flush()
        context.load_cert_chain(file.name)


def validation_context(file: Path) -> ssl.SSLContext:
    """A context that does nothing but prove to an ACME authority who is here (RFC 8737); `file` holds key and
    certificate. Raises `OSError`."""
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


def _configure(context: ssl.SSLContext, keyring: Keyring) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if keyring.oldest == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if keyring.http2 else ["http/1.1"])
    if not keyring.client_ca:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.verify_mode = ssl.CERT_REQUIRED if keyring.client_required else ssl.CERT_OPTIONAL


class FrontDoor:
    """The context that all connections begin with, and the one that each goes on with.

    Made once, in the master; `furnish` may be called as often as the keyring changes. Connections that have shaken
    hands keep what they have.
    """

    def __init__(self) -> None:
        self.context = _plain_context()
        self.context.sni_callback = self._choose
        self._named: dict[str, ssl.SSLContext] = {}
        self._default: ssl.SSLContext | None = None
        self._demands: tuple[str, bool] | None = None

    def demand(self, keyring: Keyring) -> None:
        """Resume no sessions that began when other certificates, or none, were asked of clients.

        Their tickets can be told apart by the context's keys alone. A worker that makes a context anew shares its keys
        with nobody until the workers are replaced.
        """
        demands = (keyring.client_ca, keyring.client_required)
        if self._demands not in (None, demands):
            self.context = _plain_context()
        self._demands = demands

    def furnish(self, keyring: Keyring) -> None:
        """Serve these certificates from now on. Raises `ssl.SSLError`, and then nothing has changed."""
        built = [(pair.names, context_of(pair, keyring)) for pair in keyring.pairs]
        named: dict[str, ssl.SSLContext] = {}
        for names, context in built:
            for name in names:
                named.setdefault(name, context)
        self.demand(keyring)
        self._named = named
        self._default = built[0][1] if built else None
        _configure(self.context, keyring)
        # A certificate that is the only one needs no choosing, which costs 20 us of the 250 that a handshake takes.
        only = len(keyring.pairs) == 1 and not keyring.client_ca
        if only:
            _load(self.context, keyring.pairs[0])
        self.context.sni_callback = None if only else self._choose

    def context_for(self, name: str | None) -> ssl.SSLContext | None:
        """The context for a host: of its own certificate, else of a wildcard's (RFC 9525 section 6.3), else the
        first."""
        if name is None:
            return self._default
        name = name.lower()
        own = self._named.get(name)
        if own is not None:
            return own
        return self._named.get("*." + name.partition(".")[2]) or self._default

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        chosen = self.context_for(name)
        if chosen is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = chosen
        return None


def ignore_unreadable_names() -> None:
    """Let no client write into the error log by a server name that is not ASCII.

    Python's `ssl` can raise that nowhere, and prints a traceback; the handshake fails and is counted all the same.
    """
    report = sys.unraisablehook

    def report_others(found: "sys.UnraisableHookArgs") -> None:
        if not (isinstance(found.exc_value, UnicodeDecodeError) and isinstance(found.object, bytes)):
            report(found)

    sys.unraisablehook = report_others


def names_of(pairs: Iterable[KeyPair]) -> set[str]:
    """All names that these certificates are for."""
    return {name for pair in pairs for name in pair.names}
