"""Moving a response body from the upstream to the client, each at its own speed.

Every body goes straight through while the client keeps up: received and sent, or spliced inside the kernel where it is
long and goes on as it is. The kernel's socket buffers absorb short stalls. A client that has cost the upstream
`PATIENCE` seconds of waiting in all is slow; from then on the body is taken off the upstream as fast as it comes and
kept in a spool, as it goes on, so that the application's worker is free for others while the client takes its time.
What must not be kept, such as events, waits for the client instead.

How a body comes is the intake's business, and how it is framed that of the client's side: chunked, sized, compressed or
ended by the connection, the relay is the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from proxy import errors
from proxy.errors import DeadlinePassed, blaming
from proxy.exchange.delivery import PaceLimits, ReadPace
from proxy.exchange.intake import Intake
from proxy.net import splice
from proxy.net.event_loop import NEVER
from proxy.net.splice import Pipe, Pipes
from proxy.net.spool import Spool
from proxy.net.stream import Sink, Stream
from proxy.settings import Settings

_NOTHING = memoryview(b"")

PATIENCE = 0.5
"""Seconds that one client may hold up the upstream in total before its response is spooled."""


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What bounds a relay: the upstream's longest silence in seconds, the client's pace, sizes in bytes."""

    read_timeout: float
    pace: PaceLimits
    spool_memory: int
    spool_size: int
    spool_dir: str | None

    @classmethod
    def of(cls, settings: Settings) -> "RelayLimits":
        return cls(
            settings.read_timeout,
            PaceLimits(settings.write_timeout, settings.min_read_rate),
            settings.response_memory,
            settings.response_spool if settings.response_buffering else 0,
            str(settings.spool_dir) if settings.spool_dir else None,
        )


class Relay:
    """A body on its way from an intake to `target`.

    `framed` gives the bytes that stand for a piece of it on the wire; None: the bytes themselves. `spools` False keeps
    the body out of files: a slow client then holds the upstream back.
    """

    __slots__ = (
        "_framed",
        "_intake",
        "_limits",
        "_pace",
        "_pipes",
        "_splices",
        "_spools",
        "_target",
        "sent",
    )

    def __init__(
        self,
        intake: Intake,
        target: Sink,
        framed: Callable[[bytes], bytes] | None,
        pipes: Pipes,
        limits: RelayLimits,
        *,
        spools: bool,
    ) -> None:
        self._intake = intake
        self._target = target
        self._framed = framed
        self._pipes = pipes
        self._limits = limits
        self._pace: ReadPace | None = None  # made when the client is first waited for
        self._spools = spools and limits.spool_size > 0
        self._splices = splice.AVAILABLE and target.descriptor is not None and framed is None
        self.sent = 0

    def run(self, pending: bytes) -> None:
        """Send `pending` (what came with the head, framed, and did not fit) and the rest of the body.

        Raises `ExchangeError` or `ClientGone`; the client then has everything that came, and less than the whole.
        """
        rest: memoryview | Pipe | None = memoryview(pending)
        with blaming(errors.CLIENT_CLOSED):
            while rest is not None:
                rest = self._splice_through(rest) if isinstance(rest, Pipe) else self._pass_through(rest)
                if rest is not None:
                    rest = self._spool(rest)
        self._intake.check()

    def _pass_through(self, rest: memoryview) -> memoryview | Pipe | None:
        """Relay while the client keeps up. What it did not take is returned when it turns out to be slow."""
        intake, target = self._intake, self._target
        while True:
            while rest:
                if not self._client_ready():
                    return rest
                sent = self._sent(target.send(rest))
                rest = rest[sent:]
            if intake.done:
                return None
            if self._splices and intake.spliceable:
                pipe = self._take_pipe()
                if pipe is not None:
                    return self._splice_through(pipe)
            # Perhaps in the process' one buffer, and sent from it before anything else can run.
            data = self._frame(intake.receive())
            if data:
                sent = self._sent(target.send(data))
                rest = memoryview(bytes(data[sent:])) if sent < len(data) else _NOTHING

    def _frame(self, data: bytes | memoryview) -> bytes | memoryview:
        return self._framed(bytes(data)) if self._framed is not None and data else data

    def _take_pipe(self) -> Pipe | None:
        """None when no descriptor is left: the same bytes go through Python then."""
        try:
            return self._pipes.take()
        except OSError:
            self._splices = False
            return None

    def _splice_through(self, pipe: Pipe) -> Pipe | None:
        """As `_pass_through`, inside the kernel; the pipe comes back with what the slow client did not take."""
        slow = False
        descriptor = self._target.descriptor
        assert descriptor is not None
        mark = self._intake.mark()
        try:
            while pipe.held or not self._intake.done:
                if not pipe.held:
                    self._intake.fill(pipe, mark)
                if pipe.held:
                    self._sent(pipe.drain(descriptor))
                    if pipe.held and not self._client_ready():
                        slow = True
                        return pipe
        finally:
            mark.close()
            if not slow:
                self._pipes.give_back(pipe)
        return None

    def _client_ready(self) -> bool:
        """Wait until the client takes more; False when it has now used up the patience there is with it."""
        if not self._spools or self._intake.done:
            self._wait()
            return True
        return self._wait(monotonic() + PATIENCE) < PATIENCE

    def _wait(self, until: float = NEVER, reading: Stream | None = None) -> float:
        """Wait for the client, as `ReadPace.wait`; for how long it was waited for in all, in seconds."""
        pace = self._pace
        if pace is None:
            pace = self._pace = ReadPace(self._target, self._limits.pace, self._intake.upload)
        pace.wait(self.sent, until, reading)
        return pace.waited

    def _spool(self, rest: memoryview | Pipe) -> memoryview | Pipe | None:
        """Take the rest of the body as it comes, send it as the client takes it.

        When the disk is full nothing is lost: what could not be stored is returned, to be passed through at the
        client's pace after all.
        """
        spool = Spool(self._limits.spool_memory, self._limits.spool_dir)
        try:
            if isinstance(rest, Pipe):
                return self._spool_pipe(spool, rest)
            unstored = self._store(spool, rest)
            return self._drain_spool(spool) if unstored is None else unstored
        finally:
            spool.close()

    def _spool_pipe(self, spool: Spool, pipe: Pipe) -> memoryview | Pipe | None:
        try:
            spool.append_from(pipe.drain_to_file)
        except OSError:
            pass  # no file could be made: everything is still in the pipe
        if pipe.held:
            self._spools = False
        try:
            unstored = self._drain_spool(spool)
        except BaseException:
            pipe.close()
            raise
        if pipe.held:
            return pipe
        self._pipes.give_back(pipe)
        return unstored

    def _drain_spool(self, spool: Spool) -> memoryview | None:
        """Fill and empty the spool at the two sides' own speeds; return what did not fit on the disk."""
        intake = self._intake
        unstored: memoryview | None = None
        offset = 0
        listening = False
        while offset < spool.length or (self._spools and not intake.done):
            room = self._spools and not intake.done and spool.length < self._limits.spool_size
            if room and not listening:
                intake.listen()
            listening = room
            self._await_either(reading=room, writing=offset < spool.length)
            if room:
                data = self._frame(intake.take())
                if data:
                    unstored = self._store(spool, data)
            moved = spool.send_to(self._target, offset) if offset < spool.length else 0
            if moved:
                offset += self._sent(moved)
            if offset == spool.length:
                spool.clear()
                offset = 0
        return unstored

    def _await_either(self, *, reading: bool, writing: bool) -> None:
        """Return when one of the two can go on. An empty spool waits for the upstream alone: the client is ready."""
        intake = self._intake
        if writing:
            self._wait(intake.deadline if reading else NEVER, intake.source if reading else None)
            if reading:
                intake.late()
            return
        try:
            intake.source.wait_readable(intake.deadline)
        except DeadlinePassed:
            intake.late()

    def _store(self, spool: Spool, data: bytes | memoryview) -> memoryview | None:
        try:
            spool.append(data)
        except OSError:
            self._spools = False
            return memoryview(bytes(data))  # it may lie in the process' buffer
        return None

    def _sent(self, count: int) -> int:
        self.sent += count
        return count
