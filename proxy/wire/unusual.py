"""Request fields whose names have other characters than letters, digits and "-".

Servers that make variables of names, as CGI does, take X_Real_IP and X.Real.IP for X-Real-IP: under such a name a
client would say what only the gateway may say, past whatever looks for the usual spelling. So these fields end here,
unless a route wants them; and those that would be taken for a field that means something never go on.
"""

import re
from collections.abc import Iterable

from proxy.wire.names import REQUEST_NAMES, Kind
from proxy.wire.request import RequestFields

_OTHERS = re.compile(rb"[^0-9a-z]")

# What browsers and servers alone say, of themselves and of bodies.
_FAMILIES = (b"content-", b"proxy-", b"remote-", b"sec-")


def usual(name: bytes) -> bytes:
    """The usual spelling, in lower case, of the name that a server may take this one for."""
    return _OTHERS.sub(b"-", name.lower())


class UnusualNames:
    """Which of these fields a route passes on. `own` are names of fields that it sets or removes itself."""

    __slots__ = ("_own", "_passes")

    def __init__(self, own: Iterable[str] = (), *, passes: bool = False) -> None:
        self._own = frozenset(usual(name.encode()) for name in own)
        self._passes = passes

    def sort(self, fields: RequestFields) -> tuple[list[bytes], list[bytes]]:
        """The lines that go on, and the names of those that do not."""
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
