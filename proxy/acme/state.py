"""State that outlives the process: one authority's account, its certificates, and pending challenges.

    STATE_DIR/acme/HOST-HASH/       one for each directory URL; everything 0600 in directories of 0700
        account.json                the account's key and its URL
        NAME.pem                    key and chain of a certificate; @wildcard.NAME.pem for a wildcard
        NAME.failures               consecutive failures to obtain it, why the last one, and when to try again
        NAME.renewal                when the authority wants it renewed, and when to ask about that again
        NAME.demand                 mark of a name that a client has asked for; its time is that of the last use
        pending/TOKEN               the response to an HTTP-01 challenge
        pending/NAME.pem            the certificate for a TLS-ALPN-01 challenge
        lock, on-demand.lock        held by the one worker that renews certificates: of domains, of other names
        account.lock                held while an account is made
    STATE_DIR/acme/orders/NAME      locked by the one worker that orders a certificate for the name: for whatever
                                    reason, from whichever authority

Files are replaced atomically, so any worker may read them at any time. Private keys of the account and of
certificates leave this directory only for the memory of the gateway's processes.
"""

import fcntl
import hashlib
import json
import math
import os
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

from proxy.net.certificate_set import KeyPair
from proxy.net.private_file import write_private
from proxy.net.tls_contexts import validation_context

LONGEST_WAIT = 7 * 86400.0
"""Longest pause after a failure, in seconds, whatever an authority asks for."""

LONGEST_SILENCE = 86400.0
"""Longest time until an authority is asked again when to renew, in seconds, whatever it says."""

_LONGEST_ORDER = 600.0  # seconds: no validation takes longer
_LONGEST_ACCOUNT = 60.0  # seconds until an account that another order makes is no longer waited for
_POLL = 0.1  # seconds between two looks at its lock
_LARGEST = 65536  # bytes of a document

_DEMAND = ".demand"
_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,256}")  # RFC 8555 section 8.3: base64url, at least 128 bits


@dataclass(frozen=True, slots=True)
class Failures:
    """Consecutive failures, the time of the next attempt, when that was recorded (unix seconds), and why the last
    attempt failed."""

    count: int = 0
    until: float = 0.0
    noted: float = 0.0
    reason: str = ""

    def forbid(self, now: float) -> bool:
        """Whether it is too early for another attempt. Times that a wrong clock has recorded are ignored."""
        return self.noted <= now < self.until <= self.noted + LONGEST_WAIT


@dataclass(frozen=True, slots=True)
class Suggestion:
    """When the authority wants a certificate renewed: `at`, 0 for no wish (unix seconds).

    `certificate` is the digest of the one that it was asked about; `again` is when to ask next, `noted` when that was
    recorded.
    """

    certificate: str = ""
    at: float = 0.0
    noted: float = 0.0
    again: float = 0.0

    def fresh(self, now: float) -> bool:
        """Whether it is too early to ask again. Times that a wrong clock has recorded are ignored."""
        return self.noted <= now < self.again <= self.noted + LONGEST_SILENCE


def _stem(domain: str) -> str:
    """What a domain's files are called: a wildcard's without the character that shells expand."""
    return domain.replace("*", "@wildcard", 1)


def digest(pair: KeyPair) -> str:
    """What tells a certificate from those before and after it."""
    return hashlib.sha256(pair.chain).hexdigest()


def _document(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(_LARGEST)
    try:
        found = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - wrong content, not a wrong argument
    return found


class State:
    """The files of the authority with this directory URL."""

    def __init__(self, directory: Path, directory_url: str) -> None:
        """`directory` is the state directory, or one that several gateways share."""
        digest = hashlib.sha256(directory_url.encode()).hexdigest()[:12]
        host = re.sub(r"[^a-z0-9.-]", "_", urlsplit(directory_url).hostname or "")
        self.root = directory / "acme" / f"{host}-{digest}"
        self.account = self.root / "account.json"
        self.pending = self.root / "pending"
        self.orders = self.root.parent / "orders"

    def make(self) -> None:
        """Make the directories. Raises `OSError`."""
        for directory in (self.root.parent.parent, self.root.parent, self.root, self.pending, self.orders):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def certificate(self, domain: str) -> Path:
        """Where key and chain of a domain's certificate are kept."""
        return self.root / f"{_stem(domain)}.pem"

    def read(self, domain: str) -> KeyPair:
        """The certificate obtained for a domain. Raises `CertificateError` if there is no usable one."""
        from proxy.net import certificates

        pair = certificates.read_joined(self.certificate(domain))
        if domain not in pair.names:
            raise certificates.CertificateError(
                f"{self.certificate(domain)}: is for {pair.name}, not for {domain}; remove it"
            )
        return pair

    def pair(self, domain: str) -> KeyPair | None:
        """That certificate, or None."""
        from proxy.net import certificates

        try:
            return self.read(domain)
        except certificates.CertificateError:
            return None

    def known_account(self) -> dict[str, Any]:
        """The stored account. Raises `OSError`, `FileNotFoundError` if there is none, and `ValueError`."""
        return _document(self.account)

    def contact(self) -> str | None:
        """The contact address that the authority has, "" if unknown; None without an account."""
        try:
            return str(self.known_account().get("contact", ""))
        except (OSError, ValueError):
            return None

    def failures(self, domain: str) -> Failures:
        """The failures to obtain a certificate for a domain; they survive a restart."""
        try:
            stored = _document(self._failures(domain))
            count, until, noted = int(stored["count"]), float(stored["until"]), float(stored.get("noted", 0.0))
            return Failures(count, until, noted, str(stored.get("reason", "")))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return Failures()

    def note_failures(self, domain: str, failures: Failures) -> None:
        """Store the failures of a domain. Raises `OSError`."""
        if failures.count:
            write_private(self._failures(domain), json.dumps(asdict(failures)).encode())
        else:
            self._failures(domain).unlink(missing_ok=True)

    def suggestion(self, domain: str, pair: KeyPair) -> Suggestion:
        """What the authority has said of when to renew this certificate of a domain."""
        try:
            stored = _document(self._suggestion(domain))
            at, noted, again = (float(stored[name]) for name in ("at", "noted", "again"))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return Suggestion()
        if stored.get("certificate") != digest(pair) or not math.isfinite(at):
            return Suggestion()
        return Suggestion(digest(pair), at, noted, again)

    def note_suggestion(self, domain: str, suggestion: Suggestion) -> None:
        """Store it. Raises `OSError`."""
        write_private(self._suggestion(domain), json.dumps(asdict(suggestion)).encode())

    def demand(self, name: str) -> Path:
        """The mark of a name that got its certificate on demand."""
        return self.root / f"{name}{_DEMAND}"

    def demanded(self) -> Iterator[str]:
        """The names with such a mark. Raises `OSError`."""
        return (path.name.removesuffix(_DEMAND) for path in self.root.glob(f"[a-z0-9]*{_DEMAND}"))

    def forget(self, name: str) -> None:
        """Remove all that is kept of a name. Raises `OSError`."""
        for path in (self.demand(name), self.certificate(name), *self.notes(name)):
            path.unlink(missing_ok=True)

    def notes(self, domain: str) -> tuple[Path, Path]:
        """The files of what is known about a domain beside its certificate."""
        return self._failures(domain), self._suggestion(domain)

    def _failures(self, domain: str) -> Path:
        return self.root / f"{_stem(domain)}.failures"

    def _suggestion(self, domain: str) -> Path:
        return self.root / f"{_stem(domain)}.renewal"

    # Challenges: written by the worker that obtains the certificate, read by the one that the authority connects to.

    def response(self, token: str) -> bytes | None:
        """The key authorization for an HTTP-01 challenge (RFC 8555 section 8.3), or None if none is pending."""
        if not _TOKEN.fullmatch(token):
            return None
        try:
            return (self.pending / token).read_bytes()
        except OSError:
            return None

    def validation(self, domain: str) -> Path:
        """Key and certificate for a TLS-ALPN-01 challenge (RFC 8737 section 3); there while one is pending."""
        return self.pending / f"{domain}.pem"

    def validation_context(self, domain: str) -> ssl.SSLContext | None:
        """The context for a TLS-ALPN-01 challenge for a domain, or None if none is pending."""
        if not _DOMAIN.fullmatch(domain):
            return None
        try:
            return validation_context(self.validation(domain))
        except OSError:
            return None

    @contextmanager
    def challenge(self, name: str, content: bytes) -> Iterator[None]:
        """Keep a file in `pending` for as long as the block takes. Raises `OSError`."""
        path = self.pending / name
        write_private(path, content)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def forget_leftovers(self, now: float) -> None:
        """Remove what is of no use any more: challenges that a killed process has left, failures of names that were not
        ordered again, and locks that no worker holds. Raises nothing."""
        for pattern, kept in (("pending/*", _LONGEST_ORDER), ("*.failures", LONGEST_WAIT)):
            for path in _older(self.root.glob(pattern), now - kept):
                with suppress(OSError):
                    path.unlink()
        for path in _older(self.orders.glob("*"), now - _LONGEST_ORDER):
            with suppress(OSError), _held(path) as ours:
                if ours:
                    path.unlink()

    def lock(self, name: str) -> AbstractContextManager[bool]:
        """Whether this process got the lock of that name, for the duration of the block. Raises `OSError`.

        It is free again as soon as its holder has ended, however that came about.
        """
        return _held(self.root / name)

    def acquire(self, name: str) -> FileIO | None:
        """The file that holds that lock until it is closed, or dropped by a caller that no longer waits for it; None if
        another one does. Raises `OSError`."""
        return _acquired(self.root / name)

    def order_lock(self, name: str) -> str:
        """The lock of the orders for one name, the same for all authorities."""
        return f"../{self.orders.name}/{_stem(name)}"

    @contextmanager
    def account_lock(self) -> Iterator[None]:
        """Wait until no other order makes an account. Blocks the thread; raises `OSError`, `TimeoutError` after a
        minute."""
        end = monotonic() + _LONGEST_ACCOUNT
        while (file := self.acquire("account.lock")) is None:
            if monotonic() >= end:
                raise TimeoutError(f"another worker has been making the account for {_LONGEST_ACCOUNT:g} s")
            sleep(_POLL)
        with file:
            yield


def _acquired(path: Path) -> FileIO | None:
    file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.utime(file.fileno())
        ours = os.path.samestat(os.fstat(file.fileno()), path.stat())  # else it was removed after it was opened
    except (BlockingIOError, FileNotFoundError):
        ours = False
    except OSError:
        file.close()
        raise
    if ours:
        return file
    file.close()
    return None


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    file = _acquired(path)
    try:
        yield file is not None
    finally:
        if file is not None:
            file.close()


def _older(paths: Iterable[Path], moment: float) -> Iterator[Path]:
    """Those that were last written before a moment (unix seconds)."""
    for path in paths:
        with suppress(OSError):
            if path.lstat().st_mtime < moment:
                yield path
