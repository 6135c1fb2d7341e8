"""Too many slow clients, no descriptors, no disk."""

import contextlib
import os
import re
import resource
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.gateway import Gateway
from tests.proxy.integration.drills.conftest import FACTOR, Origin
from tests.proxy.integration.drills.load import load
from tests.proxy.integration.exchange import Client
from tests.waiting import until

pytestmark = [pytest.mark.drill, pytest.mark.alone]
SLOW = {"head": 450, "body": 450, "reader": 100}


def dial(port: int, data: bytes) -> socket.socket:
    """A connection that has sent so much."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.sendall(data)
    sock.setblocking(False)
    return sock


def test_slow_clients_harm_nobody(origin: Origin, start: Callable[..., Gateway]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    seconds = 2 * FACTOR
    gateway = start(
        origin.address, "--head-timeout", f"{seconds}s", "--body-timeout", f"{seconds}s", "--write-timeout",
        f"{seconds}s",
    )  # fmt: skip
    with load(gateway.port) as before:
        before.go_on(500)
    kinds = {
        "head": (b"GET / HTTP/1.1\r\nHost", b"o"),
        "body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", b"x"),
        "reader": (b"GET /5000000 HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    }
    with contextlib.ExitStack() as clients:
        waves = [kind for kind, count in SLOW.items() for _ in range(count)]
        slow = [(clients.enter_context(dial(gateway.port, kinds[kind][0])), kind) for kind in waves]
        with load(gateway.port) as during:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for sock, kind in slow:
                    with contextlib.suppress(OSError):
                        sock.send(kinds[kind][1])
                time.sleep(0.5)  # slow clients are what this is about
        print(f"before: {before.account}\nduring: {during.account}")
        assert during.account.clean, during.account
        assert during.account.p99 < max(1.0, 20 * before.account.p99)
        ended = {kind: sum(ends(sock, kind) for sock, this in slow if this == kind) for kind in kinds}
        assert ended["head"] == SLOW["head"], ended
        assert ended["reader"] == SLOW["reader"], ended


def ends(sock: socket.socket, kind: str) -> bool:
    """Whether the gateway ended this client in its own way: 408 for a slow head, a reset for one that never reads."""
    sock.settimeout(15)
    if kind == "reader":
        poller = select.poll()
        poller.register(sock, select.POLLHUP | select.POLLERR)
        return bool(poller.poll(15_000))
    if kind == "body":
        return True
    try:
        return sock.recv(12) == b"HTTP/1.1 408"
    except OSError:
        return False


def test_descriptors_run_out(origin: Origin, start: Callable[..., Gateway]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gateway = start(origin.address, admin=True)
    worker = gateway.workers()[0]
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (200, 200))
    idle = [dial(gateway.port, b"") for _ in range(400)]
    with load(gateway.port, 10) as traffic:
        time.sleep(1 * FACTOR)  # how often something is logged in a time can only be seen over that time
    account = traffic.account
    print(account)
    assert account.statuses[200] > 100
    assert account.statuses[200] == account.answered
    told = gateway.log.count("out of file descriptors")
    assert 1 <= told <= 2, "now and then, not for every connection"
    used = processor(worker)
    time.sleep(0.5)  # the time over which the processor's is measured
    assert processor(worker) - used < 0.25, "the worker spins"
    for sock in idle:
        sock.close()
    with load(gateway.port, 10) as after:
        after.go_on(100)
    assert after.account.clean, after.account
    assert (soft, hard) == resource.getrlimit(resource.RLIMIT_NOFILE)


def processor(pid: int) -> float:
    """Seconds of processor time."""
    return time.clock_gettime((~pid << 3) | 2)


def test_full_log_loses_lines_not_requests(origin: Origin, start: Callable[..., Gateway]) -> None:
    gateway = start(origin.address, "--access-log", "/dev/full", admin=True)
    with load(gateway.port) as traffic:
        traffic.go_on(500)
    print(traffic.account)
    assert traffic.account.clean, traffic.account

    def lost() -> float:
        with Client(gateway.admin) as client:
            client.send(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            found = re.search(rb"(?m)^aragora_proxy_access_log_lost_lines_total (\S+)", client.answer().body)
            return float(found[1]) if found else 0.0

    until(lambda: lost() > 0, "lost log lines are counted")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_spool_refuses_what_does_not_fit(
    small_disk: Path,
    origin: Origin,
    start: Callable[..., Gateway],  # ended before the disk is taken away
) -> None:
    gateway = start(origin.address, "--spool-dir", str(small_disk))
    with load(gateway.port) as traffic:
        with Client(gateway.address) as client:
            client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n" + bytes(5_000_000))
            answer = client.answer()
            assert (answer.status, answer.field("Retry-After") is not None) == (503, True)
        with Client(gateway.address) as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.send(b"GET /30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(1.5)  # a slow client: the answer goes to the disk meanwhile
            slow = client.answer()
            assert (slow.status, slow.whole, len(slow.body)) == (200, True, 30_000_000)
    print(traffic.account)
    assert traffic.account.clean, traffic.account
    with Client(gateway.address) as client:
        client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + bytes(500_000))
        assert client.answer().status == 200, "the space was not given back"
