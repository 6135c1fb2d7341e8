"""Gateways of the tests' own tiny worker, which says who it is and lets requests wait."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.proxy.gateway import Address, Gateway
from tests.waiting import PATIENCE

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
