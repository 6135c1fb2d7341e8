"""The questions waiting for a provider and being served, in one file that all processes of this machine share.

Every process that opens the file takes a seat in it: a lock on one byte, which the kernel gives back when the process
ends, however it ends. So what a dead process left behind is known to have no owner. Each record lies between two
locks of the first byte and is a few kilobytes of JSON; a file that cannot be read begins anew.

POSIX record locks belong to a process and are lost with the first descriptor of the file that it closes: one register
for each file and process, and no other reader.
"""

import bisect
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

MINUTE = 60.0  # seconds in which requests and tokens are counted
SEATS = 4096  # processes at one file
PATIENCE = 2.0  # seconds for another process to let go of the file, which it holds for a millisecond
_RETRY = 0.005
_MAX_FILE = 8 << 20  # bytes; more is not what we wrote


@dataclass(frozen=True, slots=True)
class Limits:
    """Questions at once, and questions and tokens within any minute; None where there is no limit."""

    concurrency: int | None = None
    requests: int | None = None
    tokens: int | None = None

    @property
    def none(self) -> bool:
        """Whether nothing is limited."""
        return self.concurrency is None and self.requests is None and self.tokens is None


@dataclass(slots=True)
class Ticket:
    """One question: its number, whose it is, and whether it has been let in."""

    number: int
    seat: int
    admitted: bool = False


@dataclass(slots=True)
class Admission:
    """That a question was let in: when, in unix seconds, and how many tokens it was reckoned, or known, to take."""

    at: float
    number: int
    tokens: int


@dataclass(slots=True)
class Table:
    """What the file says: the next number, the questions in their order, and those admitted within the last minute."""

    next: int = 1
    tickets: list[Ticket] = field(default_factory=list)
    admissions: list[Admission] = field(default_factory=list)

    def join(self, seat: int) -> int:
        """Go to the end of the line; the number to be known by."""
        number = self.next
        self.next += 1
        self.tickets.append(Ticket(number, seat))
        return number

    def waiting(self) -> list[int]:
        """The numbers of the questions that wait, in their order."""
        return [ticket.number for ticket in self.tickets if not ticket.admitted]

    def admit(self, number: int, seat: int, limits: Limits, tokens: int, now: float) -> bool:
        """Let `number` in, for about so many tokens, if it is the first in line and the limits allow it.

        A question that takes more tokens than a minute has is let in alone.
        """
        ticket = self._ticket(number, seat)
        served = sum(other.admitted for other in self.tickets)
        if self.waiting()[0] != number or (limits.concurrency is not None and served >= limits.concurrency):
            return False
        self.admissions = [past for past in self.admissions if now - MINUTE < past.at <= now + MINUTE]
        if limits.requests is not None and len(self.admissions) >= limits.requests:
            return False
        taken = sum(past.tokens for past in self.admissions)
        if limits.tokens is not None and taken and taken + tokens > limits.tokens:
            return False
        ticket.admitted = True
        if limits.requests is not None or limits.tokens is not None:
            self.admissions.append(Admission(now, number, tokens))
        return True

    def leave(self, number: int, tokens: int) -> None:
        """Forget a question, which has taken so many tokens if it was let in."""
        self.tickets = [ticket for ticket in self.tickets if ticket.number != number]
        for past in self.admissions:
            if past.number == number:
                past.tokens = tokens

    def _ticket(self, number: int, seat: int) -> Ticket:
        """The ticket; written anew if the file began anew meanwhile."""
        found = next((ticket for ticket in self.tickets if ticket.number == number), None)
        if found is None:
            found = Ticket(number, seat)
            bisect.insort(self.tickets, found, key=lambda ticket: ticket.number)
            self.next = max(self.next, number + 1)
        return found

    def dump(self) -> bytes:
        """As JSON."""
        rows = [[ticket.number, ticket.seat, ticket.admitted] for ticket in self.tickets]
        past = [[admission.at, admission.number, admission.tokens] for admission in self.admissions]
        return json.dumps([self.next, rows, past], separators=(",", ":")).encode()

    @classmethod
    def load(cls, text: bytes) -> "Table":
        """What `dump` made; an empty table for anything else."""
        try:
            number, rows, past = json.loads(text)
            tickets = [Ticket(int(row[0]), int(row[1]), bool(row[2])) for row in rows]
            return cls(int(number), tickets, [Admission(float(row[0]), int(row[1]), int(row[2])) for row in past])
        except (ValueError, TypeError, LookupError, RecursionError):
            return cls()


class Register:
    """The table in the file at `path`; in memory, for this process alone, without one or where locks do not work."""

    def __init__(self, path: Path | None = None) -> None:
        self.seat = 0
        self._lock = threading.Lock()
        self._table = Table()
        self._descriptor: int | None = None
        if path is not None:
            try:
                self._open(path)
            except OSError as error:
                self._go_alone(error)

    def _open(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.seat = next((seat for seat in range(1, SEATS) if self._take(seat)), 0)
        if not self.seat:
            raise OSError("no seat is free")

    def _go_alone(self, error: OSError) -> None:
        log.warning("providers' limits hold for each process on its own: %s", error)
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    @contextmanager
    def table(self) -> Iterator[Table]:
        """The table without the tickets of dead processes, to be read and changed."""
        with self._lock:
            before = self._begin()
            if before is not None:
                self._table = Table.load(before)
                seats = {ticket.seat for ticket in self._table.tickets}
                dead = {seat for seat in seats if not self._is_alive(seat)}
                self._table.tickets = [ticket for ticket in self._table.tickets if ticket.seat not in dead]
            try:
                yield self._table
            finally:
                self._end(before)

    def _begin(self) -> bytes | None:
        """Lock the file and read it; None when there is none."""
        if self._descriptor is None:
            return None
        try:
            until = time.monotonic() + PATIENCE
            while not self._take(0):
                if time.monotonic() > until:
                    raise TimeoutError("another process holds the register of questions")
                time.sleep(_RETRY)
            return os.pread(self._descriptor, _MAX_FILE, 0)
        except OSError as error:
            self._go_alone(error)
            return None

    def _end(self, before: bytes | None) -> None:
        if self._descriptor is None:
            return
        try:
            after = self._table.dump()
            if after != before:
                os.pwrite(self._descriptor, after, 0)
                os.ftruncate(self._descriptor, len(after))
            self._give_back(0)
        except OSError as error:
            self._go_alone(error)

    def _is_alive(self, seat: int) -> bool:
        """Whether the process of `seat` still runs."""
        if seat == self.seat:
            return True
        if not 0 < seat < SEATS or not self._take(seat):
            return 0 < seat < SEATS
        self._give_back(seat)
        return False

    def _take(self, byte: int) -> bool:
        assert self._descriptor is not None
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES
            return False
        return True

    def _give_back(self, byte: int) -> None:
        assert self._descriptor is not None
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)
