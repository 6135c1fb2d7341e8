"""The names that certificates are renewed for, and those that may be ordered on demand."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

_LONGEST = 228  # characters: of the 255 of a file's name 27 are for `.failures` and for what makes a draft of it unique
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_OF_IDNA = "xn--"


class Names(Protocol):
    """Names whose certificates one schedule renews."""

    every: float
    """Seconds between two looks."""
    lock: str
    """What the file is called that the renewing worker locks."""

    def all(self) -> Iterable[str]:
        """Those to look at now. Raises `OSError`."""

    def wanted(self, name: str) -> bool:
        """Whether to order a certificate that is due. Asked right before; may take seconds."""


@dataclass(frozen=True, slots=True)
class Domains:
    """The names of the settings."""

    domains: tuple[str, ...]
    every = 30.0
    lock = "lock"

    def all(self) -> tuple[str, ...]:
        return self.domains

    def wanted(self, _name: str) -> bool:
        return True


def is_orderable(name: str) -> bool:
    """Whether a certificate may be ordered for a name that only a client has mentioned.

    It is a host name of two labels or more (RFC 1123 section 2.1), in lower case, no address and no wildcard, and no
    longer than the names of its files allow; of labels whose third and fourth characters are hyphens only A-labels that
    can be decoded (RFC 5890 section 2.3.1).
    """
    labels = name.split(".")
    if len(name) > _LONGEST or len(labels) < 2 or labels[-1].isdigit():
        return False
    return all(map(_is_label, labels))


def _is_label(label: str) -> bool:
    if not _LABEL.fullmatch(label):
        return False
    if label[2:4] != "--":
        return True
    if not label.startswith(_OF_IDNA):
        return False
    try:
        decoded = label.removeprefix(_OF_IDNA).encode("ascii").decode("punycode")
    except UnicodeError:
        return False
    return decoded.isprintable() and not decoded.isascii()
