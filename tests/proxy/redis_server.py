"""A real Redis server on a port of the kernel's choice, which may be stopped, killed and started again there."""

import signal
import subprocess
from pathlib import Path

import redis

from tests.conftest import program
from tests.ports import ports
from tests.waiting import until


class RedisServer:
    """One server that keeps nothing on disk. `options` are its own, such as `--requirepass`."""

    def __init__(self, directory: Path, *options: str, tls: bool = False, password: str = "") -> None:
        self.directory = directory
        self.options = options
        self.password = password
        (self.port,) = ports(1)
        self._listener = ["--port", "0", "--tls-port"] if tls else ["--port"]
        self.tls = tls
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis{'s' if self.tls else ''}://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [program("redis-server") or "", *self._listener, str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.DEVNULL, cwd=self.directory)
        if not self.tls:
            until(self._answers, "the start of Redis")

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, password=self.password or None)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def suspend(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
