"""The fuzz from the command line: rounds of HTTP/1 and HTTP/2 against two gateways, with canaries between them."""

import argparse
import http.client
import tempfile
import threading
import time
from collections import deque
from itertools import count
from pathlib import Path
from random import Random
from zlib import crc32

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.fuzz.canary import ask_as_canary
from tests.proxy.integration.fuzz.h1_round import run_h1
from tests.proxy.integration.fuzz.h2_round import run_h2
from tests.proxy.integration.fuzz.ledger import Ledger
from tests.proxy.integration.fuzz.reader import Reader

_REMEMBERED_ROUNDS = 400
_ROUNDS = {"h1": run_h1, "h2": run_h2}
_REPORT_SECONDS = 10.0


class Site:
    """Two gateways before one application: the first stores bodies, the second passes them on while they come."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger()
        self._reader = Reader(self.ledger)
        self.gateways = [
            serve(folder / buffering, self._reader.address, "--h2c", "on", "--request-buffering", buffering)
            for buffering in ("on", "off")
        ]

    def close(self) -> None:
        for gateway in self.gateways:
            gateway.close()
            if "Traceback" in gateway.log:
                self.ledger.fault(f"a gateway failed inside:\n{gateway.log}")
        self._reader.close()


class Fuzz:
    """Rounds are numbered; each draws everything from the seed and its number, so that it can be had again."""

    def __init__(self, site: Site, seed: int, kinds: list[str]) -> None:
        self._site = site
        self._seed = seed
        self._kinds = kinds
        self._numbers = count()
        self._past: deque[list[str]] = deque()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.messages = 0
        self.canaries = 0
        self.rounds = 0

    def round(self, number: int) -> None:
        chance = Random(f"{self._seed}:{number}")
        kind, streamed = chance.choice(self._kinds), chance.random() < 0.5
        # The tag keeps a change of one byte from making one name into another.
        name = f"r{number:07}x{crc32(chance.randbytes(8)):08x}"
        port = self._site.gateways[streamed].port
        sent = _ROUNDS[kind](chance, port, self._site.ledger, name, streamed=streamed)
        with self._lock:
            self.messages += sent
            self.rounds += 1
            self._past.append([f"{name}-{index}" for index in range(sent)])
            old = self._past.popleft() if len(self._past) > _REMEMBERED_ROUNDS else []
        self._site.ledger.forget(old)

    def run(self, messages: int, seconds: float, threads: int) -> None:
        """Until so many messages were sent, or the time is over, or something is wrong."""
        workers = [threading.Thread(target=self._go_on) for _ in range(threads)]
        workers += [threading.Thread(target=self._sing, args=(gateway,)) for gateway in self._site.gateways]
        begun = reported = time.monotonic()
        for worker in workers:
            worker.start()
        while self.messages < messages and not self._site.ledger.faults and time.monotonic() < begun + seconds:
            self._stop.wait(0.05)
            if time.monotonic() > reported + _REPORT_SECONDS:
                reported = time.monotonic()
                print(f"{self.messages} messages, {self.messages / (reported - begun):.0f} a second", flush=True)
        self._stop.set()
        for worker in workers:
            worker.join()

    def _go_on(self) -> None:
        while not self._stop.is_set():
            try:
                self.round(next(self._numbers))
            except Exception as error:
                self._site.ledger.fault(f"a round failed: {error!r}")

    def _sing(self, gateway: Gateway) -> None:
        """Ask as a canary, again and again, on connections that are kept for a while."""
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
        for number in count():
            if self._stop.is_set():
                break
            ask_as_canary(gateway.port, self._site.ledger, f"c{gateway.port}x{number:07}", connection)
            with self._lock:
                self.canaries += 1
            if number % 50 == 49:
                connection.close()
        connection.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Send right, wrong and broken requests of HTTP/1 and HTTP/2 through the gateway to a reader of "
        "HTTP/1 that is not the gateway's, and look for anybody out of step.",
    )
    parser.add_argument("--messages", type=int, default=100_000, help="requests to send (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1800.0, help="most time to take (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="what all chance is drawn from (default: the time)")
    parser.add_argument("--round", type=int, default=None, help="only this round of the seed, as a fault names it")
    parser.add_argument("--threads", type=int, default=8, help="connections at a time (default: %(default)s)")
    parser.add_argument("--kind", choices=[*_ROUNDS, "all"], default="all", help="what clients speak")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else int(time.time())
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        fuzz = Fuzz(site, seed, [*_ROUNDS] if given.kind == "all" else [given.kind])
        begun = time.monotonic()
        try:
            if given.round is not None:
                fuzz.round(given.round)
            else:
                fuzz.run(given.messages, given.seconds, given.threads)
        finally:
            site.close()
    taken = time.monotonic() - begun
    faults = site.ledger.faults
    print(f"{fuzz.messages} messages in {fuzz.rounds} rounds and {fuzz.canaries} canaries in {taken:.0f} s")
    print(f"{len(faults)} out of step", *faults, sep="\n")
    if faults:
        print(f"again: scripts/fuzz --seed {seed} --round N, where a request is called rN-...")
    return bool(faults)
