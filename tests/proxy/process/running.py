"""Gateways of the tests' own tiny worker, which says who it is and lets requests wait."""

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.proxy.gateway import Address, Gateway
from tests.waiting import PATIENCE, until

TINY = ("-m", "tests.proxy.process.tiny")


class TinyGateway(Gateway):
    """A gateway whose workers answer lines rather than requests; see `tests.proxy.process.tiny`."""

    def ready(self, workers: int = 1) -> "TinyGateway":
        """Wait until the first address and the first workers serve."""
        self.wait_for("Booting worker", workers)
        self.address, self.admin = self.announced(2)
        self.who()
        return self

    def who(self, address: Address | None = None) -> dict[str, Any]:
        """What the worker that answers at this address says of itself."""
        answer = json.loads(self.ask("who", address))
        assert isinstance(answer, dict)
        return answer

    def ask(self, line: str, address: Address | None = None) -> str:
        with socket.create_connection(address or self.address, timeout=PATIENCE) as connection:
            connection.sendall(line.encode() + b"\n")
            with connection.makefile() as lines:
                return lines.read()

    def admin_text(self, path: str) -> str:
        return self.ask(path, self.admin)

    def upgrade(self) -> int:
        """USR2; the new master's process id once its worker serves."""
        booted = self.log.count("Booting worker")
        self.signal(signal.SIGUSR2)
        self.wait_for("Booting worker", booted + 1)
        old = self.masters[-1]
        new = until(lambda: (master := self.who()["master"]) != old and master, "the new master serves")
        assert isinstance(new, int)
        self.masters.append(new)
        return new

    def workers(self) -> list[int]:
        """Process ids of the workers, as the board knows them."""
        return [worker["pid"] for worker in self.status()["workers"]]

    @contextmanager
    def waiting(self) -> Iterator[Callable[[], str]]:
        """A request in flight; the function given lets it end and gives back its answer."""
        with socket.create_connection(self.address, timeout=PATIENCE) as connection, connection.makefile("rw") as lines:
            print("wait", file=lines, flush=True)
            assert lines.readline() == "waiting\n"

            def finish() -> str:
                print("go on", file=lines, flush=True)
                return lines.readline()

            yield finish


@dataclass
class Customers:
    """How many visits went well, and what went wrong with the others."""

    served: int = 0
    wrong: list[str] = field(default_factory=list)


@contextmanager
def customers(visit: Callable[[], object]) -> Iterator[Customers]:
    """Visits, one after the other, until the block ends; each raises what is wrong with it."""
    seen, ended = Customers(), threading.Event()

    def come() -> None:
        while not ended.is_set():
            try:
                visit()
                seen.served += 1
            except (OSError, ValueError, AssertionError) as problem:
                seen.wrong.append(repr(problem))

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
    assert seen.served > 0
