"""Requests that wait for a peer with room: first come, first served, bounded in number and time."""

from collections import deque

from greenlet import getcurrent, greenlet

from proxy import errors
from proxy.errors import DeadlinePassed, ExchangeError, Failure
from proxy.net.event_loop import NEVER, Deadlines, Hub


class _Waiter:
    """One request; thrown out by the sweeper when its deadline passes."""

    __slots__ = ("deadline", "greenlet", "woken")

    def __init__(self, waiting: greenlet, deadline: float) -> None:
        self.greenlet: greenlet | None = waiting
        """None once it waits no more: it may serve another request by then."""
        self.deadline = deadline
        self.woken = False

    def resume(self) -> None:
        if self.greenlet is not None:
            self.greenlet.switch()

    def expire(self) -> None:
        if self.greenlet is not None:
            self.greenlet.throw(DeadlinePassed)


class Queue:
    """Waiting requests of one route and worker."""

    def __init__(
        self,
        hub: Hub,
        deadlines: Deadlines,
        most: int,
        timeout: float,
        *,
        full: Failure = errors.QUEUE_FULL,
        late: Failure = errors.QUEUE_TIMEOUT,
    ) -> None:
        """`full` and `late` are the failures of requests that find no place, and of those that wait too long."""
        self._hub = hub
        self._deadlines = deadlines
        self._most = most
        self._timeout = timeout
        self._full = full
        self._late = late
        self._waiting: deque[_Waiter] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, since: float, *, again: bool) -> None:
        """Return when it is this request's turn to look for room again. Raises `ExchangeError`, 503.

        It has waited `since` then (monotonic seconds). When it finds that another took the room, it waits `again`: it
        keeps its place, and its deadline.
        """
        waiter = _Waiter(getcurrent(), since + self._timeout)
        if again:
            self._waiting.appendleft(waiter)
        elif len(self._waiting) < self._most:
            self._waiting.append(waiter)
        else:
            raise ExchangeError(self._full, f"{self._most} requests wait already")
        self._deadlines.streams.add(waiter)
        try:
            self._hub.switch()
        except DeadlinePassed:
            raise ExchangeError(self._late) from None
        except BaseException:
            if waiter.woken:
                self.wake()  # its turn is another's now
            raise
        finally:
            waiter.greenlet = None
            waiter.deadline = NEVER
            self._deadlines.streams.discard(waiter)
            if not waiter.woken:
                self._waiting.remove(waiter)

    def wake(self) -> None:
        """A connection became free: let the first of those that wait look."""
        if self._waiting:
            waiter = self._waiting.popleft()
            waiter.woken = True
            waiter.deadline = NEVER
            self._hub.loop.run_callback(waiter.resume)

    def release(self) -> None:
        """Let all that wait look."""
        for _ in range(len(self._waiting)):
            self.wake()
