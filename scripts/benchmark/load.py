"""The load generator: one epoll loop over raw sockets, each connection with its own request and one answer awaited.

A connection's first answers are parsed; from then on every answer is as long as the last, which keeps the loop at a few
microseconds per answer, so that the proxy and not this process is what is busy.
"""

import gc
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.measure import BenchError, Meter, Spent

PATIENCE_SECONDS = 20.0
BUFFER_BYTES = 1 << 18
HTTP_PROOF = b"HTTP/1.1 200"
UPGRADE_PROOF = b"HTTP/1.1 101"


@dataclass(frozen=True)
class Sample:
    """What one round measured."""

    answers: int
    sent_bytes: int
    received_bytes: int
    spent: Spent
    p50: float
    p99: float

    @property
    def proxy_share(self) -> float:
        """Processor use of the proxy: 1.0 is the whole core."""
        return self.spent.proxy_ns / 1e9 / self.spent.seconds

    @property
    def kernel_share(self) -> float:
        """How much of the proxy's processor time was the kernel's: 0.0 to 1.0."""
        return self.spent.kernel_ns / max(1, self.spent.proxy_ns)


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The value that `percent` of these, in ascending order, do not exceed; 0 if there are none."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0


class Connection:
    """One client connection and the request it repeats."""

    __slots__ = ("began", "left", "proof", "request", "sent", "sock", "whole")

    def __init__(self, sock: socket.socket, request: bytes, whole: int, proof: bytes) -> None:
        self.sock = sock
        self.request = memoryview(request)
        self.whole = whole
        self.proof = proof
        self.left = whole
        self.sent = 0
        self.began = 0


def dial(port: int) -> socket.socket:
    """A connected socket with a bound on every wait."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def answer_length(sock: socket.socket, proof: bytes) -> int:
    """Read one whole answer; its length in bytes. BenchError unless it is a success of known length."""
    head = bytearray()
    while b"\r\n\r\n" not in head:
        data = sock.recv(BUFFER_BYTES)
        if not data:
            raise BenchError(f"connection closed within an answer: {bytes(head[:80])!r}")
        head += data
    if not head.startswith(proof):
        raise BenchError(f"unexpected answer: {bytes(head[:80])!r}")
    end = head.index(b"\r\n\r\n") + 4
    length = 0
    for line in bytes(head[:end]).lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        if line.startswith(b"transfer-encoding:"):
            raise BenchError("the answer came chunked although the origin gave its length")
    whole = end + length
    left = whole - len(head)
    while left > 0:
        data = sock.recv(min(left, BUFFER_BYTES))
        if not data:
            raise BenchError("connection closed within a body")
        left -= len(data)
    return whole


def open_http(port: int, requests: Sequence[bytes]) -> list[Connection]:
    """One connection per request, each having had one answer."""
    opened = []
    for request in requests:
        sock = dial(port)
        sock.sendall(request)
        opened.append(Connection(sock, request, answer_length(sock, HTTP_PROOF), HTTP_PROOF))
    return opened


def open_websocket(port: int, requests: Sequence[bytes], message: bytes) -> list[Connection]:
    """One tunnel per handshake, each having echoed `message` once."""
    whole = len(message) - 4
    opened = []
    for request in requests:
        sock = dial(port)
        sock.sendall(request)
        answer_length(sock, UPGRADE_PROOF)
        sock.sendall(message)
        received = 0
        while received < whole:
            data = sock.recv(whole - received)
            if not data:
                raise BenchError("tunnel closed before its first echo")
            received += len(data)
        opened.append(Connection(sock, message, whole, message[:1]))
    return opened


def close(connections: Sequence[Connection]) -> None:
    """Close them all."""
    for connection in connections:
        connection.sock.close()


class Load:
    """Drives opened connections; run() may be called again and goes on where it stopped."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.poller = select.epoll()
        self.by_fd = {connection.sock.fileno(): connection for connection in connections}
        self.buffer = bytearray(BUFFER_BYTES)
        self.received = 0
        self.sent = 0
        self.latencies: list[int] = []
        for fd, connection in self.by_fd.items():
            connection.sock.setblocking(False)
            self.poller.register(fd, select.EPOLLIN)
            self.send(fd, connection, time.perf_counter_ns())

    def send(self, fd: int, connection: Connection, now: int) -> None:
        """Begin the next request."""
        connection.began = now
        connection.left = connection.whole
        count = connection.sock.send(connection.request[:BUFFER_BYTES])
        self.sent += count
        connection.sent = count
        if count < len(connection.request):
            self.poller.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def send_more(self, fd: int, connection: Connection) -> None:
        """Go on with a long request."""
        position = connection.sent
        try:
            count = connection.sock.send(connection.request[position : position + BUFFER_BYTES])
        except BlockingIOError:
            return
        self.sent += count
        connection.sent = position + count
        if connection.sent == len(connection.request):
            self.poller.modify(fd, select.EPOLLIN)

    def receive(self, fd: int, connection: Connection) -> None:
        """Take what came; when an answer is whole, count it and ask again."""
        count = connection.sock.recv_into(self.buffer)
        if not count:
            raise BenchError("the proxy closed a connection within the load")
        if connection.left == connection.whole and not self.buffer.startswith(connection.proof):
            raise BenchError(f"unexpected answer: {bytes(self.buffer[:80])!r}")
        self.received += count
        left = connection.left - count
        if left > 0:
            connection.left = left
            return
        if left or connection.sent < len(connection.request):
            raise BenchError("an answer of another length than the one before, or before its request was sent")
        now = time.perf_counter_ns()
        self.latencies.append(now - connection.began)
        self.send(fd, connection, now)

    def run(self, seconds: float) -> None:
        """Drive for so long. BenchError when nothing happens for too long."""
        poll, by_fd, receive = self.poller.poll, self.by_fd, self.receive
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            events = poll(PATIENCE_SECONDS, 1024)
            if not events:
                raise BenchError(f"no answer for {PATIENCE_SECONDS:.0f} s")
            for fd, mask in events:
                if mask & ~select.EPOLLOUT:
                    receive(fd, by_fd[fd])
                else:
                    self.send_more(fd, by_fd[fd])

    def measure(self, warm: float, seconds: float, proxy: Sequence[int], origin: Sequence[int]) -> Sample:
        """Warm up, then measure: processor times are read at exactly the moments the counting begins and ends."""
        gc.disable()
        try:
            self.run(warm)
            self.received = self.sent = 0
            self.latencies = []
            meter = Meter(proxy, origin)
            self.run(seconds)
            spent = meter.stop()
        finally:
            gc.enable()
            self.poller.close()
        latencies = sorted(self.latencies)
        return Sample(
            answers=len(self.latencies),
            sent_bytes=self.sent,
            received_bytes=self.received,
            spent=spent,
            p50=percentile(latencies, 50) / 1e6,
            p99=percentile(latencies, 99) / 1e6,
        )
