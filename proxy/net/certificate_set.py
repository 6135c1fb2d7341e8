"""Certificates with their keys, and which of them serve which name."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Choice = tuple["KeyPair", ...]
"""What clients of one name are shown: each the certificate whose signatures it can read."""

NAMELESS = "nameless client"
"""Instead of a name: for clients that send none, because they connect to an address (RFC 6066 section 3)."""

Faults = tuple[tuple[str, str], ...]
"""Names of certificates, or of settings, and what is wrong with their files."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain and its key, PEM; the names it is for and its first and last moment (unix seconds).

    `algorithm` is that of the key. `stands_in` says that the gateway made it itself, for names that have nothing
    better. `file` is where it was read, for messages.
    """

    chain: bytes
    key: bytes
    names: tuple[str, ...]
    begins: int
    expires: int
    algorithm: str = ""
    stands_in: bool = False
    file: str = ""

    @property
    def name(self) -> str:
        """What to call it."""
        return self.names[0] if self.names else "unnamed"

    def valid(self, now: float) -> bool:
        """Whether clients whose clock says `now` take its dates."""
        return self.begins <= now < self.expires


@dataclass(frozen=True, slots=True)
class CertificateSet:
    """Everything that TLS connections need to know of the settings, files included.

    `client_ca` is PEM text; without it clients are not asked for certificates. `faults` are those of the last look at
    the files: what they concern serves on as it was.
    """

    pairs: tuple[KeyPair, ...] = ()
    oldest: str = "1.2"
    http2: bool = False
    client_ca: str = ""
    client_required: bool = True
    faults: Faults = ()


class Lifetime(NamedTuple):
    """When a certificate expires, and from when on it is valid: unix seconds."""

    expires: int
    begins: int


def lifetimes(pairs: Iterable[KeyPair]) -> dict[str, Lifetime]:
    """By certificate's name; of two with one name that which expires first."""
    found: dict[str, Lifetime] = {}
    for pair in pairs:
        one = Lifetime(pair.expires, pair.begins)
        found[pair.name] = min(one, found.get(pair.name, one))
    return found


def wildcard(name: str) -> str:
    """The wildcard that a name is matched by (RFC 9525 section 6.3)."""
    return "*." + name.partition(".")[2]


def choices(pairs: Sequence[KeyPair], now: float) -> dict[str, Choice]:
    """What each name is served with, wildcards under their own name, and "" for every other; NAMELESS for
    no name, if there is one for an address.

    A certificate that is valid goes before one that is not, one for the name itself before a wildcard's, and one
    from an authority before a self-signed one. Of several as good as each other there is one for each
    algorithm, the first.
    """
    holders: dict[str, list[KeyPair]] = {}
    for pair in pairs:
        for name in pair.names:
            holders.setdefault(name, []).append(pair)
    found = {name: _best(own, holders.get(wildcard(name), ()), now) for name, own in holders.items()}
    if pairs:
        first = min(pairs, key=lambda pair: (pair.stands_in, not pair.valid(now)))
        found[""] = found.get(first.name, (first,))
        addresses = [name for pair in pairs if not pair.stands_in for name in pair.names if is_address(name)]
        if addresses:
            found[NAMELESS] = found[addresses[0]]
    return found


def is_address(name: str) -> bool:
    """Whether a certificate's name is an IP address."""
    return ":" in name or name.replace(".", "").isdigit()


def _best(own: Sequence[KeyPair], wild: Sequence[KeyPair], now: float) -> Choice:
    ranks: dict[tuple[bool, bool, int], dict[str, KeyPair]] = {}
    for far, fit in enumerate((own, wild)):
        for pair in fit:
            rank = pair.stands_in, not pair.valid(now), far
            ranks.setdefault(rank, {}).setdefault(pair.algorithm, pair)
    return tuple(ranks[min(ranks)].values())


def next_change(pairs: Iterable[KeyPair], now: float) -> float:
    """When the choice may be another (unix seconds): the next beginning or end of a certificate."""
    moments = (moment for pair in pairs for moment in (pair.begins, pair.expires))
    return min((moment for moment in moments if moment > now), default=math.inf)


def names_of(pairs: Iterable[KeyPair]) -> set[str]:
    """All names that these certificates are for."""
    return {name for pair in pairs for name in pair.names}


def served(found: Mapping[str, Choice]) -> Choice:
    """The certificates that anybody is shown, each once."""
    return tuple(dict.fromkeys(pair for choice in found.values() for pair in choice))
