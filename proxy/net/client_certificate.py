"""What a client has proven about itself in its TLS handshake, as fields for the upstream."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote_from_bytes

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.wire.head import CRLF


def _text(name: x509.Name) -> bytes:
    """A name in ASCII: other bytes and controls are hexadecimal pairs (RFC 4514 section 2.4)."""
    return b"".join(
        b"%c" % byte if 0x20 <= byte < 0x7F else b"\\%02X" % byte for byte in name.rfc4514_string().encode()
    )


def _fingerprint(certificate: x509.Certificate) -> bytes:
    der = certificate.public_bytes(Encoding.DER)
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().encode()


_VERIFY: Final = "X-SSL-Client-Verify"

CERTIFICATE_FIELDS: Final[dict[str, Callable[[x509.Certificate], bytes]]] = {
    "Client-Cert": lambda one: b":%s:" % base64.b64encode(one.public_bytes(Encoding.DER)),
    _VERIFY: lambda _: b"SUCCESS",
    "X-SSL-Client-S-DN": lambda one: _text(one.subject),
    "X-SSL-Client-I-DN": lambda one: _text(one.issuer),
    "X-SSL-Client-Serial": lambda one: b"%X" % one.serial_number,
    "X-SSL-Client-Fingerprint": _fingerprint,
    "X-SSL-Client-Cert": lambda one: quote_from_bytes(one.public_bytes(Encoding.PEM), "").encode(),
}
"""What makes the value of each field: of Client-Cert as RFC 9440 has it, of the others as nginx's variables do."""


class ClientCertificate:
    """The certificate that a client has presented, verified in the handshake; or that it has presented none."""

    def __init__(self, der: bytes | None) -> None:
        self._parsed = None if der is None else _parse(der)
        self._presented = der is not None
        self._names: Sequence[str] = ()
        self._lines = b""
        self.subject = b"" if self._parsed is None else _text(self._parsed.subject)
        """Its distinguished name as RFC 4514 writes it, in ASCII; empty if there is none."""

    def lines(self, names: Sequence[str]) -> bytes:
        """The lines of these fields, each with its end. Of a client without a certificate only that it has none."""
        if names is not self._names:
            self._lines = b"".join(b"%s: %s%s" % (name.encode(), value, CRLF) for name, value in self._values(names))
            self._names = names
        return self._lines

    def _values(self, names: Sequence[str]) -> list[tuple[str, bytes]]:
        if not self._presented:
            return [(_VERIFY, b"NONE")] if _VERIFY in names else []
        if self._parsed is None:
            # OpenSSL has verified it, so that much is known.
            return [(_VERIFY, b"SUCCESS")] if _VERIFY in names else []
        return [(name, CERTIFICATE_FIELDS[name](self._parsed)) for name in names]


def _parse(der: bytes) -> x509.Certificate | None:
    """None for a certificate that OpenSSL is content with, and the library is not."""
    try:
        parsed = x509.load_der_x509_certificate(der)
        parsed.subject, parsed.issuer, parsed.serial_number  # noqa: B018 - are parsed when they are first read
    except ValueError:
        return None
    return parsed
