"""A gateway process under test, on ports of the kernel's choice: started, asked, signalled, and always ended."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]
PROGRAM = ("-m", "proxy")

Address = tuple[str, int]


class Gateway:
    """One master with its workers, in a directory of its own. With `toml` that is its file of settings."""

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str] = (),
        *,
        toml: str | None = None,
        program: Sequence[str] = PROGRAM,
        environ: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.config = directory / "proxy.toml"
        self.access_log = directory / "access.log"
        self.error_log = directory / "error.log"
        self.address: Address = ("127.0.0.1", 0)
        self.plain: Address = ("127.0.0.1", 0)
        """Where it listens without TLS beside the first address."""
        self.admin: Address = ("127.0.0.1", 0)
        if toml is not None:
            self.configure(toml)
            arguments = ("--config", str(self.config), *arguments)
        with self.error_log.open("ab") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, *program, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
            )
        self.masters = [self.process.pid]
        """Oldest first; binary upgrades add theirs."""

    @property
    def master(self) -> int:
        return self.masters[-1]

    @property
    def port(self) -> int:
        return self.address[1]

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    @property
    def admin_address(self) -> str:
        return "{}:{}".format(*self.admin)

    @property
    def control(self) -> Path:
        """The socket for commands."""
        return Path(os.environ["RUNTIME_DIRECTORY"], f"{self.admin_address}.sock")

    @property
    def log(self) -> str:
        return self.error_log.read_text(errors="replace")

    def configure(self, toml: str) -> None:
        self.config.write_text(toml)

    def logged(self) -> list[dict[str, Any]]:
        """What the JSON access log has so far; the last line may be under way."""
        text = self.access_log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def wait_for(self, text: str, count: int = 1) -> None:
        """Return when the error log has this text; fails with the log if the gateway ends before."""
        until(lambda: self.log.count(text) >= count or not any(map(alive, self.masters)), text)
        assert self.log.count(text) >= count, f"not in the log: {text!r}\n{self.log}"

    def listening(self) -> list[Address]:
        """TCP addresses announced in the log, oldest first."""
        listeners = re.sub(r" -> .*?; ", " ", self.log)  # the first line names upstreams, too
        return [(host, int(port)) for host, port in re.findall(r"https?://([\d.]+):(\d+)", listeners)]

    def announced(self, count: int) -> list[Address]:
        """The first `count` addresses, as soon as the log has them."""
        until(lambda: len(self.listening()) >= count or self.process.poll() is not None, "the gateway listens")
        assert self.process.poll() is None, f"the gateway ended:\n{self.log}"
        return self.listening()[:count]

    def workers(self) -> list[int]:
        """The worker processes by pid."""
        return children(self.master)

    def admin_text(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.admin_address}{path}", timeout=PATIENCE) as response:
            return str(response.read().decode())

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.admin_text("/status.json")))

    def metric(self, name: str) -> float:
        found = re.search(rf"^aragora_proxy_{re.escape(name)} (\S+)$", self.admin_text("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def signal(self, number: int) -> None:
        """Send a signal to the newest master."""
        os.kill(self.master, number)

    def end(self) -> int:
        """TERM the newest master; the exit code of the first."""
        if alive(self.master):
            self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> int:
        """End whatever of it still runs; the exit code of the first master."""
        workers = [pid for master in self.masters for pid in children(master)]
        for master in reversed(self.masters):
            with contextlib.suppress(ProcessLookupError):
                os.kill(master, signal.SIGINT)
        try:
            code = self.process.wait(PATIENCE)
            until(lambda: not any(alive(master) for master in self.masters), "the masters end")
            return code
        finally:
            for pid in (*self.masters, *workers):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(PATIENCE)


def serve(
    directory: Path, upstream: str, *flags: str, admin: bool = False, plain: bool = False, workers: int = 1
) -> Gateway:
    """A gateway in front of `upstream`, configured by flags, once it listens and its workers are up.

    Its access log is JSON. `plain`: it also listens without TLS; `admin`: it has an admin address.
    """
    arguments = [
        "--bind", "127.0.0.1:0", "--workers", str(workers), *(["--upstream", upstream] if upstream else []),
        *(["--bind-plain", "127.0.0.1:0"] if plain else []), "--admin", "127.0.0.1:0" if admin else "off",
        "--error-log", "-",
    ]  # fmt: skip
    if "--access-log" not in flags:
        arguments += ["--access-log", str(directory / "access.log"), "--log-format", "json"]
    gateway = Gateway(directory, (*arguments, *flags))
    try:
        gateway.address, *others = gateway.announced(1 + plain + admin)
        if plain:
            gateway.plain = others.pop(0)
        if admin:
            gateway.admin = others.pop(0)
        until(lambda: len(gateway.workers()) == workers or gateway.process.poll() is not None, "the workers are up")
        assert gateway.process.poll() is None, gateway.log
    except BaseException:
        gateway.close()
        raise
    return gateway


def alive(pid: int) -> bool:
    """Whether a process runs; one that died and waits to be reaped does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The child processes of `pid`."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
