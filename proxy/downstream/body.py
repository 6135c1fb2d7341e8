"""Request bodies, whatever protocol they come by: read to their end before the upstream is asked, or as a stream."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from proxy import errors
from proxy.errors import ExchangeError, blaming
from proxy.net.spool import REQUESTS, Spool, room
from proxy.settings import Settings
from proxy.upstream.body import StreamedBody, stalled

_RATE_GRACE: Final = 10.0
"""Seconds before a body's average rate is judged."""

_MOST_KEPT: Final = 1 << 16


class Pace:
    """Whether a body that is read to its end arrives fast enough: no long silence, and a least average rate.

    A body that is passed on as it arrives needs no such rate: nothing is kept for it, and its client may well be slow
    by nature.
    """

    def __init__(self, settings: Settings) -> None:
        self._started = monotonic()
        self._timeout = settings.body_timeout
        self._min_rate = settings.min_rate
        self._received = 0

    def deadline(self) -> float:
        """When the next bytes are due (monotonic seconds)."""
        return monotonic() + self._timeout

    def late(self) -> ExchangeError:
        """The failure that a passed deadline is."""
        return stalled(self._timeout)

    def took(self, count: int) -> None:
        """Count bytes that have arrived, others to follow. Raises `ExchangeError` if they are too few by now."""
        self._received += count
        elapsed = monotonic() - self._started
        if elapsed > _RATE_GRACE and self._received < elapsed * self._min_rate:
            measure = f"{self._received} bytes in {elapsed:.0f} s"
            raise ExchangeError(errors.BODY_RATE, f"{measure}, under {self._min_rate} a second (min_rate)")


class BodySource(ABC):
    """The body of one request as its client sends it, without framing."""

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
    def wait(self, pace: Pace) -> None:
        """Return when more has arrived. Raises `ExchangeError` or `ClientGone`."""

    @abstractmethod
    def watch(self, callback: Callable[[], object]) -> None:
        """Call back each time there may be something to take, until `unwatch`."""

    @abstractmethod
    def unwatch(self) -> None: ...

    @abstractmethod
    def proceed(self) -> None:
        """Send 100 (Continue) (RFC 9110 section 10.1.1). Raises `ExchangeError` or `ClientGone`."""


class BodyStream(StreamedBody):
    """A body that is passed on as it arrives, where buffering is switched off.

    Its first `_MOST_KEPT` bytes are kept if the application speaks HTTP/2: it may refuse a request without having acted
    upon it, which is then sent once more (RFC 9113 section 8.7).
    """

    def __init__(self, source: BodySource, settings: Settings, *, expects_continue: bool) -> None:
        self._source = source
        self.timeout = settings.body_timeout
        self._max_body = settings.max_body
        self._total = 0
        self._kept: list[bytes] | None = [] if any(peer.address.multiplexed for peer in settings.upstream) else None
        self._again: deque[bytes] = deque()
        self._ended = False
        self.done = False
        self.expects_continue = expects_continue

    @property
    def ready(self) -> bool:
        return bool(self._again) or self._ended or self._source.ready

    def take(self) -> bytes | None:
        if self._again:
            return self._again.popleft()
        data = b"" if self._ended else self._source.take()
        if data:
            self._total += len(data)
            if self._total > self._max_body:
                raise too_large(self._max_body)
            self._keep(data)
        elif data is not None:
            self._ended = self.done = True
        return data

    def _keep(self, data: bytes) -> None:
        if self._total > _MOST_KEPT:
            self._kept = None
        elif self._kept is not None:
            self._kept.append(data)

    def rewind(self) -> bool:
        if self._kept is None:
            return False
        self._again.extend(self._kept)
        self._kept = None
        self.done = False
        return True

    def watch(self, callback: Callable[[], object]) -> None:
        self._source.watch(callback)

    def unwatch(self) -> None:
        self._source.unwatch()

    def proceed(self) -> None:
        self._source.proceed()


def too_large(limit: int) -> ExchangeError:
    """The refusal of a body over `max_body`. It names the setting, because its reader may be the operator."""
    return ExchangeError(errors.BODY_TOO_LARGE, f"over {limit} bytes, the gateway's max_body")


def check_length(length: int, settings: Settings) -> None:
    """Refuse a body of an announced length that cannot be taken, before any of it is. Raises `ExchangeError`."""
    if length > settings.max_body:
        raise too_large(settings.max_body)
    if settings.request_buffering and length > settings.body_memory:
        with blaming(errors.SPOOL):
            room.admit(length, REQUESTS)


def collect(source: BodySource, settings: Settings) -> bytes | Spool:
    """The whole body: bytes while it fits in memory, else a spool. Raises `ExchangeError` or `ClientGone`."""
    pace = Pace(settings)
    pieces: list[bytes] = []
    total = 0
    spool: Spool | None = None
    try:
        while data := _next(source, pace):
            total += len(data)
            if total > settings.max_body:
                raise too_large(settings.max_body)
            if spool is None and total > settings.body_memory:
                spool = new_spool(settings)
                for piece in pieces:
                    store(spool, piece)
                pieces.clear()
            if spool is None:
                pieces.append(data)
            else:
                store(spool, data)
    except BaseException:
        if spool is not None:
            spool.close()
        raise
    return b"".join(pieces) if spool is None else spool


def _next(source: BodySource, pace: Pace) -> bytes:
    while True:
        if not source.ready:
            source.wait(pace)
        data = source.take()
        if data:
            pace.took(len(data))
        if data is not None:  # the end, however late, leaves nothing to wait for
            return data


def new_spool(settings: Settings) -> Spool:
    """Where a body goes that is not small, or may not be."""
    return Spool(settings.body_memory, str(settings.spool_dir) if settings.spool_dir else None, share=REQUESTS)


def store(spool: Spool, data: bytes) -> None:
    """Append to the spool. Raises `ExchangeError` when the disk is full."""
    with blaming(errors.SPOOL):
        spool.append(data)
