"""What systemd is sent: at a start, a reload, an upgrade, a stop, and once in a while that the master is alive."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.process.service_manager import ServiceManager
from tests.proxy.process.running import TinyGateway
from tests.waiting import PATIENCE

Start = Callable[..., TinyGateway]
Message = dict[str, str]


class Systemd:
    """The socket that a unit's processes report to, and who reported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        self._socket.close()

    def next(self) -> tuple[int, Message]:
        """The sender's process, and the message."""
        text, ancillary, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(12))
        (_, _, credentials), *_ = ancillary
        pid = int.from_bytes(credentials[:4], "little")
        return pid, dict(line.split("=", 1) for line in text.decode().split("\n"))

    def until(self, key: str) -> tuple[int, Message]:
        """The next message with a key."""
        while True:
            pid, message = self.next()
            if key in message:
                return pid, message


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(tmp_path / "notify")
    yield made
    made.close()


def test_a_unit_s_whole_life_is_reported(start: Start, systemd: Systemd) -> None:
    gateway = start(environ={"NOTIFY_SOCKET": str(systemd.path)}).ready()
    pid, message = systemd.next()
    assert (pid, message["READY"]) == (gateway.masters[0], "1")
    assert message["STATUS"].startswith("aragora-proxy ")
    gateway.signal(signal.SIGHUP)
    _, message = systemd.until("RELOADING")
    assert int(message["MONOTONIC_USEC"]) > 0
    _, message = systemd.until("READY")
    assert message["STATUS"].startswith("aragora-proxy ")
    written = gateway.config.read_text()
    gateway.config.write_text(f"nonsense = 1\n{written}")
    gateway.signal(signal.SIGHUP)
    systemd.until("RELOADING")
    _, message = systemd.until("READY")
    assert message["STATUS"].startswith("reload failed, see the log; unchanged: aragora-proxy ")
    gateway.config.write_text(written)
    gateway.signal(signal.SIGTERM)
    pid, message = systemd.until("STOPPING")
    assert (pid, message["STATUS"]) == (gateway.masters[0], "stopping: requests in flight are finished")


def test_a_successor_is_named_before_it_speaks(start: Start, systemd: Systemd) -> None:
    gateway = start(environ={"NOTIFY_SOCKET": str(systemd.path)}).ready()
    systemd.until("READY")
    old = gateway.masters[0]
    new = gateway.upgrade()
    os.kill(old, signal.SIGTERM)
    pid, message = systemd.next()
    assert (pid, message) == (old, {"MAINPID": str(new)})
    pid, message = systemd.until("READY")
    assert pid == new
    os.kill(new, signal.SIGTERM)
    assert systemd.until("STOPPING")[0] == new


def test_the_watchdog_is_reset_in_time(start: Start, systemd: Systemd) -> None:
    start(environ={"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "1000000"}).ready()
    assert systemd.until("WATCHDOG")[1] == {"WATCHDOG": "1"}
    assert systemd.until("WATCHDOG")[1] == {"WATCHDOG": "1"}


def test_the_watchdog_is_reset_twice_an_interval(systemd: Systemd) -> None:
    now = 10**12
    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
    manager = ServiceManager(environ, lambda: now)
    assert environ == {}
    for second in range(5):
        now = 10**12 + second * 10**9
        manager.alive()
    manager.status("end")
    assert [systemd.next()[1] for _ in range(4)] == [{"WATCHDOG": "1"}] * 3 + [{"STATUS": "end"}]


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}, {"NOTIFY_SOCKET": "@nothing-listens"}, {"WATCHDOG_USEC": "soon"}],
)
def test_without_systemd_nothing_is_said(environ: dict[str, str]) -> None:
    manager = ServiceManager(environ)
    manager.ready("text")
    manager.alive()


def test_a_full_queue_stops_nothing(systemd: Systemd) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(systemd.path)})
    for _ in range(2000):
        manager.status("x" * 5000)
    assert len(systemd.next()[1]["STATUS"]) == 1000


def test_a_status_is_one_line(systemd: Systemd) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(systemd.path)}).status("a\nREADY=1")
    assert systemd.next()[1] == {"STATUS": "a; READY=1"}


def test_the_watchdog_of_another_process_is_not_reset(systemd: Systemd) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"})
    manager.alive()
    manager.status("end")
    assert systemd.next()[1] == {"STATUS": "end"}
