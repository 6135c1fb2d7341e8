"""The gate before a provider: how many questions it is asked at once, and how much in a minute.

It holds for all debates of this process and, through a `Register` in the data
directory, for all processes of this machine. Questions are let in in the order in which they came. The wait is no
fault of the provider and counts against none of its timeouts.
"""

import bisect
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aragora.agents.register import Limits, Register

LOOK = 0.1  # seconds between looks at what other processes do, by the first in line of this one
NOTICE = 1.0  # seconds between looks, by the other waiters, at whether a question is still wanted


class Entry:
    """A question at the gate; `tokens` are what it is reckoned to take, to be corrected when that is known."""

    __slots__ = ("number", "tokens", "turn")

    def __init__(self, number: int, tokens: int) -> None:
        self.number = number
        self.tokens = tokens
        self.turn = threading.Event()


class Gate:
    """Lets questions in. Any number of threads may use it; `clock` is in unix seconds."""

    def __init__(
        self, limits: Limits, register: Register | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._limits = limits
        self._register = register or Register()
        self._clock = clock
        self._line: deque[Entry] = deque()  # of this process
        self._waiting: list[int] = []  # of all processes, as last seen

    @contextmanager
    def entry(self, tokens: int, on_wait: Callable[[int], None]) -> Iterator[Entry]:
        """Wait in line, go in, and leave at the end.

        `on_wait` is called with the place in the line, which counts from 1, once a second or oftener; what it raises
        ends the wait.
        """
        if self._limits.none:
            yield Entry(0, tokens)
            return
        entry = self._join(tokens)
        try:
            while (place := self._place(entry)) > 0:
                on_wait(place)
                entry.turn.wait(LOOK if self._line[0] is entry else NOTICE)
                entry.turn.clear()
            self._step_out(entry)
            yield entry
        finally:
            self._leave(entry)

    def _join(self, tokens: int) -> Entry:
        with self._register.table() as table:
            entry = Entry(table.join(self._register.seat), tokens)
            self._waiting = table.waiting()
            self._line.append(entry)
        return entry

    def _place(self, entry: Entry) -> int:
        """In the line of all processes, from 1; 0 when it is let in. Only the first of this process asks."""
        if self._line[0] is entry:
            with self._register.table() as table:
                if table.admit(entry.number, self._register.seat, self._limits, entry.tokens, self._clock()):
                    return 0
                self._waiting = table.waiting()
        return bisect.bisect_left(self._waiting, entry.number) + 1

    def _step_out(self, entry: Entry) -> None:
        """Leave the queue; the first in it looks at once."""
        if entry in self._line:
            self._line.remove(entry)
        self._wake()

    def _leave(self, entry: Entry) -> None:
        with self._register.table() as table:
            table.leave(entry.number, entry.tokens)
        self._step_out(entry)

    def _wake(self) -> None:
        try:
            self._line[0].turn.set()
        except IndexError:
            pass
