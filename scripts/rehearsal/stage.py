"""The site of the drill: an application that is deployed by command, a gateway that is upgraded and loses workers."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from benchmark.measure import BenchError, descendants
from benchmark.process import free_port, inherited
from endurance.ledger import ConnectionEndedError, Ledger, Outage
from endurance.site import DRAIN_SECONDS, LOOK_SECONDS, PATIENCE, ROOT, Peer, Site

from rehearsal.authority import Authority

KILLED = "its gateway worker was killed"
UPGRADED = "the gateway was upgraded"
REPLACED = "its upstream was replaced"
BOOTED = "Booting worker with pid"
OBTAINED = "obtained a certificate for"
SERVICE = "app"
DRAINED_SECONDS = 3.0
"""How long a deployment waits for the WebSockets of what it replaces."""
PARTLY = 3
"""Exit code of a deployment that is in force while the old target still has connections, or a worker is behind."""
GIVEN_UP = ("RemoteProtocolError", "LocalProtocolError", "ProtocolError", "ReadError", "WriteError")
"""What httpx, and h2 beneath it, raise for connections."""


def websockets(kind: str, _error: str) -> bool:
    """What ends when the process that holds it ends, however gently."""
    return kind.startswith("WebSocket")


def upgraded(kind: str, error: str) -> bool:
    """WebSockets; HTTP/2 requests that httpx gives up when a GOAWAY without an error has come, although their streams
    are among those that are still served, or sends on a connection whose GOAWAY it has not read; and uploads over
    HTTP/1.1 that left as the old worker closed their idle connection."""
    given_up = "HTTP/2" in kind and error.startswith(GIVEN_UP)
    return websockets(kind, error) or given_up or error.startswith(ConnectionEndedError.__name__)


def stat(pid: int) -> list[str]:
    """What /proc says of a process, from its state on; nothing once it has ended (proc_pid_stat(5))."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if words[0] == "Z" else words


class Stage(Site):
    """The peers are those deployed last. `close` ends all that runs. `moments` are when each event happened, in seconds
    of the monotonic clock; `faults` is what an event came to that it should not have."""

    def __init__(self, folder: Path, workers: int) -> None:
        super().__init__(folder, workers)
        self.pebble = Authority(folder, self.pair, self.plain, self.secure)
        self.moments: dict[str, list[float]] = {}
        self.faults: list[str] = []
        self._choice = random.Random(5)  # noqa: S311 - variety, not secrecy
        self._targets, self._processes = asyncio.Lock(), asyncio.Lock()
        self._generation = 0

    def open(self) -> None:
        """Start everything, deploy, and wait for the first certificate. BenchError for what does not work."""
        self.pebble.open()
        super().open()
        asyncio.run(self._first())

    async def _first(self) -> None:
        """The first certificate, then the first deployment: when that is done, every worker serves both, because the
        master has read the certificate in the reload before, and workers follow for a deployment to be complete."""
        await self.until(self.pebble.has_root, "the authority's own certificate")
        self.authority = self.pebble.root()
        await self.until(lambda: OBTAINED in self.log(), "the first certificate")
        await self.reload()
        if not await self._deployed(self.peers):
            raise BenchError(f"the first deployment failed: {' '.join(self.faults)}")

    def close(self) -> int | None:
        """End everything: 0 if no process of the gateway was left, None if it was never started."""
        if self.gateway is None:
            self.pebble.close()
            return super().close()
        with contextlib.suppress(ProcessLookupError, OSError, ValueError):
            os.kill(self.master, signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_SECONDS
        while (left := self._session()) and time.monotonic() < deadline:
            self.gateway.process.poll()
            time.sleep(LOOK_SECONDS)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.gateway.stop()
        for peer in self.peers:
            peer.end(kill=True)
        self.pebble.close()
        return 1 if left else 0

    def _session(self) -> list[int]:
        """The living processes of the session that the first master has begun."""
        assert self.gateway is not None
        session = str(self.gateway.process.pid)
        pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
        return [pid for pid in pids if stat(pid)[3:4] == [session]]

    def settings(self) -> dict[str, object]:
        return self.common() | {
            "acme": "operator@example.com",
            "acme_directory": self.pebble.directory,
            "acme_ca": str(self.pair.cert),
            "domain": "127.0.0.1",
            "state_dir": str(self.folder / "state"),
            "pidfile": str(self.folder / "proxy.pid"),
            "graceful": "20s",
            "websocket_drain": "3s",
        }

    @property
    def master(self) -> int:
        """The pid of the master that serves."""
        return int((self.folder / "proxy.pid").read_text())

    def processes(self) -> dict[int, str]:
        """All processes of the gateway."""
        try:
            master, *workers = descendants(self.master)
        except (OSError, ValueError):  # the file is being replaced
            return {}
        return {master: "master", **dict.fromkeys(workers, "worker")}

    def access_log(self) -> str:
        """All of its files, those of before rotations too."""
        return "".join(file.read_text(errors="replace") for file in self.folder.glob("access.log*"))

    @property
    def renewals(self) -> int:
        """How many certificates came after the first."""
        return max(0, self.log().count(OBTAINED) - 1)

    # Events. What concerns the application excludes itself, as does what concerns the gateway's processes.

    async def reload_once(self, _number: int) -> None:
        async with self._processes:
            self._note("reloads")
            await self.reload()

    async def rotate(self, number: int) -> None:
        """Move the access log away and have a new one begun."""
        async with self._processes:
            self._note("log rotations")
            log = self.folder / "access.log"
            log.rename(log.with_name(f"access.log.{number + 1}"))
            os.kill(self.master, signal.SIGUSR1)
            await self.until(log.exists, "a new access log")

    async def kill_worker(self, ledger: Ledger) -> None:
        """Kill one worker; the master replaces it."""
        async with self._processes:
            self._note("workers killed")
            booted, workers = self._booted(), [pid for pid, name in self.processes().items() if name == "worker"]
            if not workers:
                raise BenchError(f"the gateway has no worker: {self.log()[-300:]}")
            outage = Outage(time.monotonic(), cause=KILLED, severs=True)
            ledger.outages.append(outage)
            os.kill(self._choice.choice(workers), signal.SIGKILL)
            await self.until(lambda: self._booted() > booted, "another worker")
            outage.ended = time.monotonic()

    async def upgrade(self, ledger: Ledger) -> None:
        """A new master on the same sockets, then the end of the old one."""
        async with self._processes:
            self._note("upgrades")
            booted, old = self._booted(), self.master
            os.kill(old, signal.SIGUSR2)
            await self.until(lambda: self._booted() >= booted + self.workers, "workers of the new master")
            outage = Outage(time.monotonic(), cause=UPGRADED, explains=upgraded, severs=True)
            ledger.outages.append(outage)
            os.kill(old, signal.SIGTERM)
            await self.until(lambda: self._promoted(old), "the end of the old master")
            outage.ended = time.monotonic()

    async def restart_peers(self, number: int, ledger: Ledger) -> None:
        async with self._targets:
            self._note("upstreams restarted or killed")
            await self.restart(number, ledger)

    async def deploy(self, ledger: Ledger) -> None:
        """Blue becomes green: two new processes, the command, and the end of the old ones."""
        async with self._targets:
            self._note("deployments")
            self._generation += 1
            old = self.peers
            new = [Peer(f"peer-{self._generation}-{number}", free_port(), self.folder) for number in (1, 2)]
            self.peers = [*old, *new]  # all of them, should the drill end now
            await asyncio.gather(*(asyncio.to_thread(peer.run) for peer in new))
            if not await self._deployed(new):
                old, new = new, old  # those are not used
            outage = Outage(time.monotonic(), cause=REPLACED, explains=websockets)
            ledger.outages.append(outage)
            await asyncio.gather(*(asyncio.to_thread(peer.end, kill=False) for peer in old))
            outage.ended = time.monotonic()
            self.peers = new

    async def _deployed(self, peers: list[Peer]) -> bool:
        """Run the command, once more while a worker has not followed: whether it has put these peers in place."""
        targets = [word for peer in peers for word in ("--target", f"127.0.0.1:{peer.port}")]
        which = ["--admin", f"127.0.0.1:{self.admin}", "--drain-timeout", f"{DRAINED_SECONDS:g}", "--json"]
        deadline = time.monotonic() + PATIENCE
        while True:
            command = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "proxy", "deploy", SERVICE, *targets, *which,
                cwd=self.folder, env={**inherited(), "PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            output, said = await command.communicate()
            done = command.returncode in (0, PARTLY)
            if done and not json.loads(output)["behind"]:
                return True
            if not done or time.monotonic() > deadline:
                words = said.decode(errors="replace").strip()[-300:]
                self.faults.append(f"deploy ended with {command.returncode}: {words}")
                return False

    def _note(self, event: str) -> None:
        self.moments.setdefault(event, []).append(time.monotonic())

    def _booted(self) -> int:
        """How many workers have been started so far."""
        return self.log().count(BOOTED)

    def _promoted(self, old: int) -> bool:
        """Whether another master has taken the old one's place, and that one has ended."""
        assert self.gateway is not None
        self.gateway.process.poll()
        try:
            return not stat(old) and self.master != old
        except (OSError, ValueError):  # the file is being replaced
            return False
