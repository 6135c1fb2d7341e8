"""The origin behind the drills. ARAGORA_DRILL=10 makes them ten times as long."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.ports import ports
from tests.proxy.gateway import ROOT
from tests.waiting import PATIENCE, until

FACTOR = max(1, int(os.environ.get("ARAGORA_DRILL", "1")))


class Origin:
    """The upstream process; it can be killed and started again on the same port."""

    def __init__(self) -> None:
        (self.port,) = ports(1)
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.proxy.integration.drills.origin", str(self.port)], cwd=ROOT
        )
        until(self._accepts, "the origin accepts")

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)


@pytest.fixture
def origin() -> Iterator[Origin]:
    """Ended with the test."""
    running = Origin()
    yield running
    running.kill()
