"""What is put under load: two peers of one application, and the gateway before them; restarted, and reloaded."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.measure import BenchError
from benchmark.peers import Pair, make_pair
from benchmark.process import Server, free_port, start

from endurance.ledger import Ledger, Outage

ROOT = Path(__file__).resolve().parents[2]
RELOADED = "settings reloaded"
PATIENCE = 60.0
"""Seconds within which a change of the gateway must be complete."""
LOOK_SECONDS = 0.05
DRAIN_SECONDS = 40.0
"""Longer than the gateway lets requests in flight take when it stops."""


@dataclass
class Peer:
    """One process of the application, on a port that it keeps."""

    name: str
    port: int
    folder: Path
    server: Server | None = None

    def run(self) -> None:
        """Start it; returns when it listens. BenchError if it never does."""
        command = [sys.executable, "-m", "endurance.origin", str(self.port)]
        environ = {"PYTHONPATH": str(ROOT / "scripts")}
        self.server = start(self.name, self.port, command, folder=self.folder, core=None, environ=environ)

    def end(self, *, kill: bool) -> None:
        """Let it finish what it has, or kill it."""
        if self.server is not None:
            if kill:
                self.server.process.kill()
                self.server.process.wait()
            self.server.stop()


class Site:
    """The peers and the gateway, started by `open`. `close` ends all that runs."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.workers = folder, workers
        self.pair: Pair = make_pair(folder)
        self.peers = [Peer(f"peer-{number}", free_port(), folder) for number in (1, 2)]
        self.plain, self.secure, self.admin = free_port(), free_port(), free_port()
        self.authority = self.pair.cert
        self.gateway: Server | None = None
        self.reloads = 0

    def open(self) -> None:
        """Start everything. BenchError for what does not start."""
        for peer in self.peers:
            peer.run()
        command = [sys.executable, "-m", "proxy", "--config", str(self.configure())]
        environ = {"PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))}
        self.gateway = start("gateway", self.plain, command, folder=self.folder, core=None, environ=environ)

    def close(self) -> int | None:
        """End everything; the exit code of the gateway, None if it was never started."""
        if self.gateway is not None:
            self.gateway.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.gateway.process.wait(DRAIN_SECONDS)
            self.gateway.stop()
        for peer in self.peers:
            peer.end(kill=True)
        return None if self.gateway is None else self.gateway.process.returncode

    def configure(self) -> Path:
        """Write the gateway's settings, never the same twice in a row."""
        file = self.folder / "proxy.toml"
        file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in self.settings().items()))
        return file

    def settings(self) -> dict[str, object]:
        """Those of every site, and where this one has its certificate and its requests go."""
        return self.common() | {
            "tls_cert": str(self.pair.cert),
            "tls_key": str(self.pair.key),
            "upstream": [f"127.0.0.1:{peer.port}" for peer in self.peers],
        }

    def common(self) -> dict[str, object]:
        """Settings of every site; `max_body` is another for every reload."""
        return {
            "bind": f"127.0.0.1:{self.secure}",
            "bind_plain": f"127.0.0.1:{self.plain}",
            "https_redirect": False,
            "admin": f"127.0.0.1:{self.admin}",
            "workers": self.workers,
            "access_log": str(self.folder / "access.log"),
            "rate": "1000000/s",  # counted, never reached
            "compress": True,
            "max_body": f"{50 + self.reloads % 2}m",
        }

    def processes(self) -> dict[int, str]:
        """The gateway's processes by pid: the master, and the workers in the order of their pids."""
        if self.gateway is None:
            return {}
        master, *workers = self.gateway.pids
        return {master: "master", **{pid: f"worker {place}" for place, pid in enumerate(sorted(workers), 1)}}

    def log(self) -> str:
        """What the gateway has said so far."""
        return self.gateway.output.read_text(errors="replace") if self.gateway else ""

    @property
    def master(self) -> int:
        """The pid of the gateway's master."""
        assert self.gateway is not None
        return self.gateway.process.pid

    async def reload(self) -> None:
        """Other settings, by HUP. BenchError if they are not adopted in time."""
        self.reloads += 1
        self.configure()
        os.kill(self.master, signal.SIGHUP)
        await self.until(lambda: self.log().count(RELOADED) >= self.reloads, "a reload")

    async def until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait for it. BenchError, with the gateway's last words, if it does not come about in time."""
        deadline = time.monotonic() + PATIENCE
        while not reached():
            if time.monotonic() > deadline:
                raise BenchError(f"{what}: not within {PATIENCE:g} s: {self.log()[-300:]}")
            await asyncio.sleep(LOOK_SECONDS)

    async def restart(self, number: int, ledger: Ledger) -> None:
        """End peers and start them again, the ledger learns from when to when they were away: one that finishes what it
        has, then one that is killed, then both killed together; and so on."""
        peers, kill = self.peers if number % 3 == 2 else [self.peers[number % 2]], number % 3 > 0
        outage = Outage(time.monotonic())
        ledger.outages.append(outage)
        await asyncio.gather(*(asyncio.to_thread(peer.end, kill=kill) for peer in peers))
        await asyncio.gather(*(asyncio.to_thread(peer.run) for peer in peers))
        outage.ended = time.monotonic()
