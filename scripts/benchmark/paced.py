"""Load at a fixed rate, whatever the answers take (an open loop), over any number of kept connections.

Requests are due at even distances. One that is due while every connection is busy waits here, and its latency counts
from the moment at which it was due: a server that stands still for a second is charged with every request of that
second, which a closed loop would simply not have sent (coordinated omission).
"""

import gc
import select
import time
from collections import deque
from collections.abc import Sequence

from benchmark.load import BUFFER_BYTES, PATIENCE_SECONDS, Connection, Sample, percentile
from benchmark.measure import BenchError, Meter

MOST_LATE, MOST_LATE_SHARE = 0.25, 0.05
"""How long the last responses may take, in seconds or as a share of the time: with more the rate was not kept."""


class Paced:
    """Drives opened connections in turn, `rate` requests a second between them.

    `poller` was made before thousands of connections were opened: select(2), which waits for it, knows no descriptor
    from 1,024 on.
    """

    def __init__(self, connections: Sequence[Connection], rate: float, poller: select.epoll) -> None:
        self.rate = rate
        self.poller = poller
        self.by_fd = {connection.sock.fileno(): connection for connection in connections}
        self.free = deque(connections)
        self.waiting: deque[int] = deque()
        self.buffer = bytearray(BUFFER_BYTES)
        self.received = 0
        self.latencies: list[int] = []
        for fd, connection in self.by_fd.items():
            connection.sock.setblocking(False)
            self.poller.register(fd, select.EPOLLIN)

    def send(self, connection: Connection, due: int) -> None:
        """Begin a request that was due at that moment."""
        connection.began, connection.left = due, connection.whole
        if connection.sock.send(connection.request) != len(connection.request):
            raise BenchError("a request was not taken at once")

    def receive(self, connection: Connection) -> None:
        """Take what came; a whole answer makes the connection free."""
        count = connection.sock.recv_into(self.buffer)
        if not count:
            raise BenchError("the proxy closed a connection within the load")
        if connection.left == connection.whole and not self.buffer.startswith(connection.proof):
            raise BenchError(f"unexpected answer: {bytes(self.buffer[:80])!r}")
        self.received += count
        connection.left -= count
        if not connection.left:
            self.latencies.append(time.perf_counter_ns() - connection.began)
            self.free.append(connection)

    def run(self, seconds: float) -> None:
        """Drive for so long, then take the answers that are still due. BenchError when they do not come."""
        interval, begin = 1e9 / self.rate, time.perf_counter_ns()
        end, number, poller = begin + seconds * 1e9, 0, self.poller.fileno()
        answered, patience = begin, PATIENCE_SECONDS * 1e9
        while True:
            now = time.perf_counter_ns()
            while (due := begin + number * interval) <= min(now, end):
                self.waiting.append(int(due))
                number += 1
            while self.waiting and self.free:
                self.send(self.free.popleft(), self.waiting.popleft())
            if due > end and len(self.free) == len(self.by_fd):
                return
            wait = max(0.0, (due - now) / 1e9) if due <= end else PATIENCE_SECONDS
            # epoll counts in milliseconds, select(2) in microseconds
            if select.select([poller], [], [], wait)[0]:
                answered = now
                for fd, _ in self.poller.poll(0, 1024):
                    self.receive(self.by_fd[fd])
            elif now - answered > patience and len(self.free) < len(self.by_fd):
                raise BenchError(f"no answer for {PATIENCE_SECONDS:.0f} s")

    def measure(self, warm: float, seconds: float, proxy: Sequence[int], origin: Sequence[int]) -> Sample:
        """Warm up, then measure. BenchError if the rate could not be kept: there is no latency at that rate then."""
        gc.disable()
        try:
            self.run(warm)
            self.received, self.latencies = 0, []
            meter = Meter(proxy, origin)
            self.run(seconds)
            spent = meter.stop()
        finally:
            gc.enable()
        if spent.seconds - seconds > max(MOST_LATE, seconds * MOST_LATE_SHARE):
            kept = len(self.latencies) / spent.seconds
            raise BenchError(f"answered {kept:,.0f} requests a second, not {self.rate:,.0f}")
        latencies = sorted(self.latencies)
        p50, p99 = (percentile(latencies, percent) / 1e6 for percent in (50, 99))
        return Sample(len(latencies), 0, self.received, spent, p50, p99)
