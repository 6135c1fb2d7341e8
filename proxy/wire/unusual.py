"""Request fields whose names have characters other than letters, digits and "-".

Servers that turn names into variables, as CGI does, read X_Real_IP and X.Real.IP as X-Real-IP: with such a name a
client could forge what only the gateway may set, past filters for the usual spelling. So these fields are dropped,
unless a route wants them; those that could be mistaken for a meaningful field are always dropped.
"""

import re
from collections.abc import Iterable

from proxy.wire.names import REQUEST_NAMES, Kind
from proxy.wire.request import RequestFields

_OTHERS = re.compile(rb"[^0-9a-z]")

# Set only by browsers and servers, about themselves and about bodies.
_FAMILIES = (b"content-", b"proxy-", b"remote-", b"sec-")


def usual(name: bytes) -> bytes:
    """The usual spelling, in lower case, of the name that a server may read this one as."""
    return _OTHERS.sub(b"-", name.lower())


class UnusualNames:
    """Which of these fields a route forwards. `own` are names of fields that it sets or removes itself."""

    __slots__ = ("_own", "_passes")

    def __init__(self, own: Iterable[str] = (), *, passes: bool = False) -> None:
        self._own = frozenset(usual(name.encode()) for name in own)
        self._passes = passes

    def sort(self, fields: RequestFields) -> tuple[list[bytes], list[bytes]]:
        """The lines to forward, and the names of the others."""
        passed: list[bytes] = []
        dropped: list[bytes] = []
        present = {line.partition(b":")[0].lower() for line in fields.lines}
        for line in fields.unusual:
            name = line.partition(b":")[0]
            likeness = usual(name)
            if self._passes and self._harmless(likeness) and likeness not in present:
                passed.append(line)
            else:
                dropped.append(name)
        return passed, dropped

    def _harmless(self, likeness: bytes) -> bool:
        return (
            REQUEST_NAMES[likeness] is Kind.FORWARD and likeness not in self._own and not likeness.startswith(_FAMILIES)
        )


NO_UNUSUAL = UnusualNames()
