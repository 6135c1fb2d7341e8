"""What many watchers of one debate cost one worker; by hand: `python -m tests.aragora.server.measure_watchers 1000`.

Starts a server of its own, opens that many WebSockets, asks one debate of the demo agents, and reports processor time,
memory, and the lag from an event's storing to its arrival. The watchers are greenlets of this process and share the
machine with the server, so the lag is an upper bound.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402 - everything below must see patched sockets
import json  # noqa: E402
import resource  # noqa: E402
import socket  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
import gevent.pool  # noqa: E402

from tests.aragora.server.servers import COMMANDS, Server, running  # noqa: E402

TICKS = 100
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyEhIQ==\r\n\r\n"
)


class Tally:
    """What all watchers saw."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self.messages = 0
        self.gaps = 0
        self.ended = 0


def processes(server: Server) -> list[int]:
    """The server's pids."""
    return [server.process.pid, *server.workers()]


def used(server: Server) -> tuple[float, float]:
    """Processor seconds and resident MiB of all its processes."""
    seconds = mebibytes = 0.0
    for pid in processes(server):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / TICKS
        status = Path(f"/proc/{pid}/status").read_text()
        mebibytes += int(status.partition("VmRSS:")[2].split()[0]) / 1024
    return seconds, mebibytes


class Watcher:
    """A client that does as little as it can: its own work must not pass for the server's."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.sendall(HANDSHAKE)
        self._buffer = bytearray()
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        del self._buffer[: self._buffer.index(b"\r\n\r\n") + 4]

    def follow(self, debate_id: str, tally: Tally) -> None:
        """Watch the debate to its end."""
        text = json.dumps({"type": "subscribe", "debate_id": debate_id, "replay_from_seq": 0}).encode()
        # Masked with zeros: what was written is what is sent (RFC 6455 section 5.3).
        self._socket.sendall(bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text)
        last = 0
        live = False
        while True:
            opcode, payload = self._frame()
            tally.messages += opcode == 1
            live = live or payload.startswith(b'{"type":"replay_end"')
            if opcode != 1 or b'"seq":' not in payload[:60]:
                continue
            message = json.loads(payload)
            tally.gaps += message["seq"] != last + 1
            last = message["seq"]
            if live:
                tally.lags.append(time.time() - message["timestamp"])
            if message["type"] == "debate_end":
                tally.ended += 1
                self._socket.close()
                return

    def _frame(self) -> tuple[int, bytes]:
        self._need(2)
        size, begin = self._buffer[1], 2
        if size == 126:
            self._need(4)
            size, begin = int.from_bytes(self._buffer[2:4], "big"), 4
        elif size == 127:
            self._need(10)
            size, begin = int.from_bytes(self._buffer[2:10], "big"), 10
        self._need(begin + size)
        opcode, payload = self._buffer[0] & 15, bytes(self._buffer[begin : begin + size])
        del self._buffer[: begin + size]
        return opcode, payload

    def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            self._fill()

    def _fill(self) -> None:
        received = self._socket.recv(65_536)
        if not received:
            raise ConnectionError("the server has closed")
        self._buffer += received


def measure(server: Server, count: int) -> None:
    """One run."""
    before = used(server)
    openers = gevent.pool.Pool(50)
    watchers = openers.map(lambda _: Watcher(server.port), range(count))
    opened = used(server)
    print(f"{count} watchers: {(opened[1] - before[1]) * 1024 / count:.0f} KiB each", flush=True)
    tally = Tally()
    begun = time.monotonic()
    debate_id = server.ask(rounds=3, early_stop=False)
    gevent.joinall([gevent.spawn(watcher.follow, debate_id, tally) for watcher in watchers], timeout=300)
    spent = used(server)[0] - opened[0]
    lags = sorted(tally.lags) or [float("nan")]  # nan: the debate was over before anybody watched
    print(f"{tally.ended} saw the end, {tally.gaps} gaps, {tally.messages} messages")
    print(f"{time.monotonic() - begun:.1f} s, processor {spent:.1f} s, {spent / tally.messages * 1e6:.0f} µs a message")
    spots = {"p50": statistics.median(lags), "p95": lags[int(len(lags) * 0.95)], "max": lags[-1]}
    print("lag " + ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in spots.items()))


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--server", choices=COMMANDS, default="gunicorn")
    given = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    room = str(given.count + 50)
    with tempfile.TemporaryDirectory() as directory:
        environ = {"ARAGORA_WORKLOAD": "1", "ARAGORA_WORKER_CONNECTIONS": room, "ARAGORA_MAX_WATCHERS": room}
        with running(given.server, Path(directory), **environ) as server:
            measure(server, given.count)


if __name__ == "__main__":
    main()
