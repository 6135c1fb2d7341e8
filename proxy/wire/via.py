"""The Via field of requests, and the detection of loops (RFC 9110 section 7.6.3)."""

from proxy import errors
from proxy.errors import ExchangeError

_VERSIONS = (b"1.0", b"1.1", b"2")


class Via:
    """The Via of one route, under a `pseudonym` that no other route and no other gateway has.

    A request that passes one gateway twice by different routes is no loop: something in between may be meant to see it.
    One that returns to the same route would do so endlessly.
    """

    __slots__ = ("_pseudonym", "lines")

    def __init__(self, pseudonym: bytes = b"") -> None:
        self._pseudonym = pseudonym
        self.lines = tuple(b"Via: %s %s\r\n" % (version, pseudonym) if pseudonym else b"" for version in _VERSIONS)
        """The field line, for a request of this minor version of HTTP/1, or 2 for HTTP/2; empty without a pseudonym."""

    def check(self, said: bytes | None) -> None:
        """Raise `ExchangeError` (508) if `said`, a request's Via fields, names this route."""
        if said is not None and self._pseudonym and self._pseudonym in said:
            raise ExchangeError(errors.LOOP)


NO_VIA = Via()
