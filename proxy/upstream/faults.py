"""What ends a request's way before its end, as the socket that it went over says it."""

from proxy.errors import Failure


class Stale(Exception):  # noqa: N818 - names what happened
    """The upstream closed without a byte of a response: it may never have seen the request."""


class Unprocessed(Stale):
    """The upstream has said that it did nothing with the request: any may be repeated (RFC 9113 section 8.7)."""


class StreamFault(OSError):  # noqa: N818 - names what happened
    """An HTTP/2 stream ended before its end. `failure`: what is wrong with the response, if anything is."""

    def __init__(self, detail: str, *, failure: Failure | None = None, unprocessed: bool = False) -> None:
        super().__init__(detail)
        self.strerror = detail
        self.failure = failure
        self.unprocessed = unprocessed

    def again(self) -> "StreamFault":
        """A new one to raise: one that was raised keeps its frames alive, and they keep it."""
        return StreamFault(self.strerror or "", failure=self.failure, unprocessed=self.unprocessed)


def stale(error: OSError) -> Stale:
    """What a connection that broke without a byte of a response means to its request."""
    unprocessed = isinstance(error, StreamFault) and error.unprocessed
    return (Unprocessed if unprocessed else Stale)(error.strerror or "")
