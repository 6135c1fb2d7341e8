"""A worker cannot make its master do anything: not by memory that they share, not by files of its directories."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.admin.overrides import Overrides
from tests.proxy.gateway import alive
from tests.proxy.process.conftest import TOML
from tests.proxy.process.running import TinyGateway
from tests.proxy.process.test_reload import hup
from tests.waiting import until

Start = Callable[..., TinyGateway]
HOSTILE = {"TINY_WORKER": "tests.proxy.process.hostile:Worker"}


def replaced(gateway: TinyGateway, worker: int) -> None:
    """The worker's death is noticed and another one serves."""
    booted = gateway.log.count("Booting worker")
    os.kill(worker, signal.SIGKILL)
    gateway.wait_for("Booting worker", booted + 1)
    until(lambda: answering(gateway) not in (0, worker), "another worker")


def answering(gateway: TinyGateway) -> int:
    """The worker that answers; 0 if it died meanwhile."""
    try:
        return int(gateway.who()["pid"])
    except (OSError, ValueError):
        return 0


@pytest.mark.parametrize("pattern", ["ff", "7f", "ff" * 7 + "7f", "00", "01"])
def test_no_scribble_over_the_shared_memory_stops_the_master(start: Start, pattern: str) -> None:
    gateway = start(environ=HOSTILE).ready()
    for retry_wait in range(2, 5):
        worker = gateway.who()["pid"]
        assert 0 < int(gateway.ask(f"scribble {pattern}")) < 100 << 20
        gateway.configure(TOML.replace("retry_wait = 1", f"retry_wait = {retry_wait}"))
        gateway.signal(signal.SIGHUP)
        gateway.wait_for(f"worker runs with retry_wait {retry_wait}")
        replaced(gateway, worker)
        assert gateway.who()["retry_wait"] == retry_wait, "settings were not taken from what the worker wrote"
    assert alive(gateway.process.pid)
    assert "Traceback" not in gateway.log
    assert gateway.end() == 0


@pytest.mark.parametrize(
    "raw",
    [
        "[" * 50_000,
        "null",
        json.dumps({"version": 10**400}),
        Overrides(version=(1 << 60) - 1, reload_requests=(1 << 60) - 1).encoded(),
        Overrides(reload_requests=5).encoded().replace('"version":0', '"version":1e999'),
        Overrides(reload_requests=1 << 70).encoded(),
        Overrides(drained=frozenset((f"route-{number}", "peer" * 20) for number in range(1000))).encoded(),
        Overrides(mistakes=("x" * 1000,) * 100).encoded(),
        "\ud800",
    ],
)
def test_no_record_of_orders_stops_the_master(start: Start, raw: str) -> None:
    gateway = start(environ=HOSTILE).ready()
    worker = gateway.who()["pid"]
    assert gateway.ask("record " + raw.encode(errors="surrogatepass").decode("latin-1")) == "done\n"
    hup(gateway, TOML.replace("retry_wait = 1", "retry_wait = 2"))
    replaced(gateway, worker)
    assert gateway.who()["retry_wait"] == 2.0
    old = gateway.masters[0]
    gateway.upgrade()
    os.kill(old, signal.SIGTERM)
    assert gateway.process.wait(40) == 0
    assert "Traceback" not in gateway.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as another user")
def test_a_worker_cannot_type_into_the_terminal_of_its_master(start: Start) -> None:
    """TIOCSTI puts input into a process' own terminal: that of root's shell, once the master has ended."""
    terminal = (sys.executable, "-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)")
    gateway = start('user = "nobody"\ngroup = "nogroup"\n', before=terminal).ready()
    facts = gateway.who()
    for process, has_one in ((facts["master"], True), (facts["pid"], False)):
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        assert bool(int(after_name[4])) is has_one, "its controlling terminal"
    os.kill(facts["master"], signal.SIGTERM)
    assert gateway.process.wait(40) == 0
