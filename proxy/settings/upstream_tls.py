"""What TLS connections to upstreams are made with, read from the files that the settings name."""

import re
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path

from proxy.settings.values.files import read_file

_LARGEST = 1 << 18  # bytes of a file
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """The content of the files of one route, as PEM; the master reads them, which may read more than its workers.

    `authorities` empty: the system's. `chain` empty: no certificate of the gateway's own; else `key` belongs to it.
    """

    authorities: str = ""
    chain: bytes = b""
    key: bytes = field(default=b"", repr=False)


NO_TLS = UpstreamTls()


def read_authorities(path: Path) -> str:
    """The certificates in a file, without what else it holds. Raises ValueError with the fix."""
    found = b"\n".join(_CERTIFICATE.findall(read_file(path, _LARGEST)))
    if not found:
        raise ValueError("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found.decode("ascii", "replace"))
    except OSError as problem:
        raise ValueError(f"OpenSSL refuses it: {problem.strerror or problem}") from None
    return found.decode("ascii")


def read_pair(chain: Path, key: Path) -> tuple[bytes, bytes]:
    """A certificate with those of its authorities, and its key. Raises ValueError with the fix."""
    found = []
    for path in (chain, key):
        try:
            found.append(read_file(path, _LARGEST))
        except ValueError as problem:
            raise ValueError(f"{problem} ({path.name})" if path == key else str(problem)) from None
    if key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ValueError(f"all users of this machine can read or change the key {key}; chmod 600 {key}")
    try:
        # A password cannot be asked for: the empty one makes OpenSSL refuse a key that has one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(chain, key, password="")
    except OSError as problem:
        reason = getattr(problem, "reason", None) or problem.strerror or "not PEM"
        raise ValueError(
            f"OpenSSL refuses it with the key {key} ({reason}); name a certificate in PEM and its own key, without a "
            "password"
        ) from None
    return found[0], found[1]
