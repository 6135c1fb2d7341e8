"""A gateway process under test: started, asked, signalled, and always ended."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[3]
TINY = ("-m", "tests.proxy.process.tiny")


def alive(pid: int) -> bool:
    """Whether a process runs; one that died and waits to be reaped does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class Gateway:
    """One master with its workers, in a directory of its own."""

    def __init__(
        self,
        directory: Path,
        toml: str,
        arguments: Sequence[str] = (),
        program: Sequence[str] = TINY,
        environ: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.directory = directory
        self.config = directory / "proxy.toml"
        self.log_path = directory / "error.log"
        self.configure(toml)
        self.masters: list[int] = []
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, *program, "--config", str(self.config), *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
                env={**os.environ, "PYTHONPATH": "", **(environ or {})},
            )
        self.masters.append(self.process.pid)

    def configure(self, toml: str) -> None:
        self.config.write_text(toml)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def wait_for(self, text: str, count: int = 1) -> None:
        try:
            until(lambda: self.log.count(text) >= count, text)
        except AssertionError:
            raise AssertionError(f"not in the log: {text!r}\n{self.log}") from None

    def listening(self) -> list[tuple[str, int]]:
        """TCP addresses announced in the log, oldest first."""
        return [(host, int(port)) for host, port in re.findall(r"http://([\d.]+):(\d+)", self.log)]

    def ready(self, workers: int = 1) -> "Gateway":
        """Wait until the first address and the first workers serve."""
        self.wait_for("Booting worker", workers)
        self.front, self.admin = self.listening()[:2]
        self.who(self.front)
        return self

    def who(self, address: tuple[str, int] | None = None) -> dict[str, Any]:
        answer = json.loads(self.ask("who", address))
        assert isinstance(answer, dict)
        return answer

    def ask(self, line: str, address: tuple[str, int] | None = None) -> str:
        with socket.create_connection(address or self.front, timeout=PATIENCE) as connection:
            connection.sendall(line.encode() + b"\n")
            with connection.makefile() as lines:
                return lines.read()

    def metric(self, name: str) -> float:
        found = re.search(rf"^aragora_proxy_{re.escape(name)} (\S+)$", self.ask("/metrics", self.admin), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def workers(self) -> list[int]:
        """Process ids of the workers, as the board knows them."""
        return [worker["pid"] for worker in json.loads(self.ask("/status.json", self.admin))["workers"]]

    def signal(self, number: int) -> None:
        os.kill(self.masters[-1], number)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[], str]]:
        """A request in flight; the function given lets it end and gives back its answer."""
        with socket.create_connection(self.front, timeout=PATIENCE) as connection, connection.makefile("rw") as lines:
            print("wait", file=lines, flush=True)
            assert lines.readline() == "waiting\n"

            def finish() -> str:
                print("go on", file=lines, flush=True)
                return lines.readline()

            yield finish

    def end(self) -> int:
        """TERM the newest master; give back the exit code of the first."""
        if alive(self.masters[-1]):
            self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End whatever of it still runs."""
        for master in reversed(self.masters):
            if alive(master):
                os.kill(master, signal.SIGINT)
                until(lambda master=master: not alive(master) or self.process.poll() is not None, "exit")
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
