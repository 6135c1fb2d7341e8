"""The Via field of requests, and requests that come back (RFC 9110 section 7.6.3)."""

from proxy import errors
from proxy.errors import ExchangeError

_VERSIONS = (b"1.0", b"1.1", b"2")


class Via:
    """What one route says of itself under a `pseudonym`, which no other route and no other gateway has.

    A request that passes one gateway twice on its way, by two routes, is no loop: something between them may be meant
    to see it. One that comes to the same route again would come for ever.
    """

    __slots__ = ("_pseudonym", "lines")

    def __init__(self, pseudonym: bytes = b"") -> None:
        self._pseudonym = pseudonym
        self.lines = tuple(b"Via: %s %s\r\n" % (version, pseudonym) if pseudonym else b"" for version in _VERSIONS)
        """The field line, by the minor version of HTTP/1 that the request came by, or 2; empty without a pseudonym."""

    def check(self, said: bytes | None) -> None:
        """Raises `ExchangeError` (508) if `said`, what a request's Via fields say, names this route."""
        if said is not None and self._pseudonym and self._pseudonym in said:
            raise ExchangeError(errors.LOOP)


NO_VIA = Via()
