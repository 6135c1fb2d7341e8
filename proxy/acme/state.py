"""What outlives the process: one authority's account, its certificates, the challenges that are pending.

    STATE_DIR/acme/HOST-HASH/       one for each directory URL; everything 0600 in directories of 0700
        account.json                the account's key and its URL
        NAME.pem                    key and chain of a certificate
        NAME.failures               how often obtaining it has failed in a row, and when to try again
        pending/TOKEN               what to answer an HTTP-01 challenge with
        pending/NAME.pem            the certificate to answer a TLS-ALPN-01 challenge with
        lock                        held by the one worker of the machine that obtains certificates

Files are replaced at once, so every worker may read them at any time. Private keys of the account and of certificates
never leave this directory but into the memory of the gateway's processes.
"""

import fcntl
import hashlib
import json
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proxy.net.certificate_set import KeyPair
from proxy.net.tls_contexts import validation_context

LONGEST_WAIT = 7 * 86400.0
"""Seconds for which nothing is tried after a failure, at most, whatever an authority asks for."""

_LARGEST = 65536  # bytes of a document

_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,256}")  # RFC 8555 section 8.3: base64url, at least 128 bits


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures in a row, the moment (unix seconds) before which nothing more is tried, and when that was noted."""

    count: int = 0
    until: float = 0.0
    noted: float = 0.0

    def forbid(self, now: float) -> bool:
        """Whether nothing may be tried yet. Moments that a clock which was wrong has written are not believed."""
        return self.noted <= now < self.until <= self.noted + LONGEST_WAIT


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

    def __init__(self, state_dir: Path, directory_url: str) -> None:
        digest = hashlib.sha256(directory_url.encode()).hexdigest()[:12]
        host = re.sub(r"[^a-z0-9.-]", "_", urlsplit(directory_url).hostname or "")
        self.root = state_dir / "acme" / f"{host}-{digest}"
        self.account = self.root / "account.json"
        self.pending = self.root / "pending"

    def make(self) -> None:
        """Make the directories. Raises `OSError`."""
        for directory in (self.root.parent.parent, self.root.parent, self.root, self.pending):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def certificate(self, domain: str) -> Path:
        """Where key and chain of a domain's certificate are kept."""
        return self.root / f"{domain}.pem"

    def read(self, domain: str) -> KeyPair:
        """The certificate that was obtained for a domain. Raises `CertificateError` where there is none that serves."""
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
        """What is kept of the account. Raises `OSError`, `FileNotFoundError` if there is none, and `ValueError`."""
        return _document(self.account)

    def contact(self) -> str | None:
        """The address that the authority was told, "" if that is not known; None where there is no account."""
        try:
            return str(self.known_account().get("contact", ""))
        except (OSError, ValueError):
            return None

    def failures(self, domain: str) -> Failures:
        """How obtaining a certificate for a domain went last; a restart does not forget it."""
        try:
            kept = _document(self._failures(domain))
            return Failures(int(kept["count"]), float(kept["until"]), float(kept.get("noted", 0.0)))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return Failures()

    def note_failures(self, domain: str, failures: Failures) -> None:
        """Keep that. Raises `OSError`."""
        from proxy.net import certificates

        if failures.count:
            certificates.write_private(self._failures(domain), json.dumps(asdict(failures)).encode())
        else:
            self._failures(domain).unlink(missing_ok=True)

    def _failures(self, domain: str) -> Path:
        return self.root / f"{domain}.failures"

    # Challenges: written by the worker that obtains, read by whichever is asked.

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
        """What a TLS-ALPN-01 challenge for a domain is answered with, or None if none is pending."""
        if not _DOMAIN.fullmatch(domain):
            return None
        try:
            return validation_context(self.validation(domain))
        except OSError:
            return None

    @contextmanager
    def challenge(self, name: str, content: bytes) -> Iterator[None]:
        """Keep a file in `pending` for as long as the block takes. Raises `OSError`."""
        from proxy.net import certificates

        path = self.pending / name
        certificates.write_private(path, content)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def forget_challenges(self, before: float) -> None:
        """Remove those that a process which was killed has left (unix seconds), as far as that is possible."""
        for path in self.pending.glob("*"):
            with suppress(OSError):
                if path.lstat().st_mtime < before:
                    path.unlink()

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Whether this process is the one that obtains, while the block takes. Raises `OSError`."""
        file = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(file)
