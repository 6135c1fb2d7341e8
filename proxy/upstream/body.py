"""The body of a request on its way to an upstream, and the field line that frames it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from proxy import errors
from proxy.errors import ExchangeError
from proxy.net.spool import Spool


def stalled(timeout: float) -> ExchangeError:
    """The failure of a body of which nothing came for `timeout` seconds."""
    return ExchangeError(errors.BODY_TIMEOUT, f"nothing for {timeout:g} s (body_timeout)")


class StreamedBody(ABC):
    """A request body that is passed on as it arrives; `timeout` is the longest silence in it, in seconds."""

    expects_continue: bool
    timeout: float
    done: bool
    """It was taken to its end."""

    @abstractmethod
    def take(self) -> bytes | None:
        """The next bytes that have arrived, b"" at the end, None if the rest has yet to come.

        Raises `ExchangeError` or `ClientGone`.
        """

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether `take` has something to give although nothing more comes from the client, be it the end."""

    @abstractmethod
    def watch(self, callback: Callable[[], object]) -> None:
        """Call back each time there may be something to take, until `unwatch`."""

    @abstractmethod
    def unwatch(self) -> None:
        """Leave what arrives unread; a client that leaves is then noticed as it is without a body."""

    @abstractmethod
    def proceed(self) -> None:
        """Send 100 (Continue) to a client that waits for it."""

    def rewind(self) -> bool:
        """Begin again, if all that was taken is still there; whether it is."""
        return False


Body = bytes | Spool | StreamedBody
"""In memory, in memory or a file, or yet to come."""


def rewound(body: Body | None) -> bool:
    """Whether the body can be sent from its beginning once more."""
    return not isinstance(body, StreamedBody) or body.rewind()


def framing(body: Body | None, length: int | None) -> bytes:
    """The field line that frames the body, with its end; empty where there is neither body nor length.

    A streamed body of unknown length is chunked; that of a known one is counted as it is sent. Raises `ExchangeError`
    for a body in memory or a spool that is not as long as announced: the rest of it, or of the announcement, would be
    read as the next request (RFC 9112 section 6.3).
    """
    if body is None:
        if length is None:
            return b""
        actual = 0
    elif isinstance(body, bytes):
        actual = len(body)
    elif isinstance(body, Spool):
        actual = body.length
    else:
        return b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
    if length != actual:
        raise ExchangeError(errors.INTERNAL, f"a body of {actual} bytes is announced with {length}")
    return b"Content-Length: %d\r\n" % actual
