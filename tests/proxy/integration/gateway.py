"""A gateway process under test, on ports of the kernel's choice."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[3]


class Gateway:
    """`python -m proxy` in front of `upstream`; ended by close()."""

    def __init__(self, directory: Path, upstream: str, *flags: str, admin: bool = False, workers: int = 1) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.access_log = directory / "access.log"
        self.error_log = directory / "error.log"
        command = [
            sys.executable, "-m", "proxy", "--bind", "127.0.0.1:0", "--workers", str(workers),
            *(["--upstream", upstream] if upstream else []),
            "--admin", "127.0.0.1:0" if admin else "off", "--error-log", "-",
        ]  # fmt: skip
        if "--access-log" not in flags:
            command += ["--access-log", str(self.access_log), "--log-format", "json"]
        with self.error_log.open("wb") as sink:
            self.process = subprocess.Popen(
                [*command, *flags],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self.master = self.process.pid
        ports = until(lambda: self._listening(1 + admin), "the gateway listens")
        self.port = ports[0]
        self.admin = ports[1] if admin else 0
        until(lambda: len(self.workers()) == workers, "the workers are up")

    def _listening(self, count: int) -> list[int]:
        ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", self.log)]
        if self.process.poll() is not None:
            raise AssertionError(f"the gateway ended:\n{self.log}")
        return ports if len(ports) >= count and "Booting worker" in self.log else []

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.error_log.read_text(errors="replace")

    def logged(self) -> list[dict[str, Any]]:
        """What the access log has so far; the last line may be under way."""
        text = self.access_log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def workers(self) -> list[int]:
        """The worker processes by pid."""
        return children(self.master)

    def signal(self, number: int) -> None:
        os.kill(self.master, number)

    def close(self) -> int:
        """End it now; its exit status."""
        members = [self.process.pid, self.master, *self.workers()]
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.master, signal.SIGINT)
            os.kill(self.process.pid, signal.SIGINT)
        try:
            return self.process.wait(PATIENCE)
        finally:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """The child processes of `pid`."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
