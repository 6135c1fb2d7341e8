"""Processes under measurement: started on one core, awaited until they listen, ended by pid."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.measure import BenchError, descendants

START_SECONDS = 60.0
STOP_SECONDS = 5.0
FOREIGN = ("ARAGORA_", "OPENAI_", "ANTHROPIC_", "GUNICORN_", "DATABASE_URL")


def free_port() -> int:
    """A port on 127.0.0.1 for a server that cannot say which one the kernel chose; it stays this process' own.

    It remains bound here without listening: the kernel gives it to nobody else, not even to a client's end of a
    connection while its server is restarted. A server that sets SO_REUSEADDR, as all do, may listen on it.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = int(held.getsockname()[1])
    held.detach()  # open until the process ends
    return port


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes started inside inherit this one core; None leaves them all that there are."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def inherited() -> dict[str, str]:
    """This process' environment without what would reach into the servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


@dataclass
class Server:
    """One running server: its port, and the processes that make it up."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def pids(self) -> list[int]:
        return descendants(self.process.pid)

    def stop(self) -> None:
        """End it: politely, then by force. Its pids are its own session's, so nothing else can be hit."""
        members = self.pids if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_SECONDS)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)


def start(
    name: str,
    port: int,
    command: Sequence[str],
    *,
    folder: Path,
    core: int | None,
    environ: Mapping[str, str] | None = None,
) -> Server:
    """Start a server on `core` (None: on any) and wait until `port` takes a connection. BenchError with its last words
    if it never does."""
    output = folder / f"{name}.out"
    with output.open("wb") as sink, on_core(core):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**inherited(), **(environ or {})},
            start_new_session=True,
        )
    server = Server(name, port, process, output)
    deadline = time.monotonic() + START_SECONDS
    try:
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{name} does not listen: {last_words(output)}")
            time.sleep(0.02)
    except BaseException:  # Ctrl-C ends the wait too
        server.stop()
        raise
    return server


def end_the_rest() -> None:
    """End whatever this process started and still runs: a signal may come while a server is being made."""
    for pid in set(descendants(os.getpid())) - {os.getpid()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def listens(port: int) -> bool:
    """Whether the port takes a connection."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def last_words(output: Path) -> str:
    """The last lines a server wrote, for an error message."""
    lines = output.read_text(errors="replace").splitlines()
    return " / ".join(line.strip() for line in lines[-3:]) or "it said nothing"
