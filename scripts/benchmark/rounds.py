"""Runs the scenarios: servers up, interleaved rounds, samples collected."""

import contextlib
import select
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark import h2load, handshakes, heads, origin, wrk
from benchmark.load import Connection, Load, Sample, close, open_http, open_websocket
from benchmark.measure import BenchError, processor_ns, proportional_kib, resident_kib
from benchmark.paced import Paced
from benchmark.peers import Place, forms, known, make_pair
from benchmark.process import Server
from benchmark.quiet import Quiet
from benchmark.scenarios import CACHING, FLEETS, FLOORS, LAB_POOL, LATENCY, MIB, PER_MIB, SHARE, Fleet, Scenario, groups

SETTLE_SECONDS = 1.5
NEVER_REACHED = "1000000/s"


@dataclass
class Plan:
    """How thoroughly to measure."""

    rounds: int
    seconds: float
    warm: float
    idle_seconds: float
    fields: str
    wrk: bool
    pool: int
    rate: float
    """Requests a second of the scenarios at a fixed rate."""
    peers: Sequence[str]
    built: Path
    """Where the compiled form of the gateway is."""
    driver_core: int
    proxy_core: int
    where_named: Collection[str]
    """Peers that are measured in those scenarios alone whose bars name them."""
    current: Collection[str]
    """Today's releases, which are measured where a scenario asks for them, or a bar names them."""
    quiet: Quiet

    def measures(self, scenario: Scenario, peer: str) -> bool:
        """Whether `peer` is measured in this scenario."""
        if scenario.wanted(peer):
            return True
        return scenario.current if peer in self.current else peer not in self.where_named


@dataclass
class Series:
    """All rounds of one scenario with one peer."""

    values: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True)
class Parked:
    """Connections one server holds and is not asked anything on."""

    server: Server
    connections: list[Connection]
    each_kib: float


Memory = dict[str, tuple[int, int]]
"""PSS and RSS in KiB after the load, by server and its upstream."""

Results = dict[str, dict[str, Series]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Running:
    """An origin and the servers in front of it; `limited` is the gateway once more, counting rates."""

    behind: Server
    servers: list[Server] = field(default_factory=list)
    limited: list[Server] = field(default_factory=list)

    def of(self, scenario: Scenario) -> list[Server]:
        """Those that a scenario is measured with."""
        return self.limited if scenario.kind == "limited" else self.servers


@contextlib.contextmanager
def started(
    plan: Plan, folder: Path, fleet: Fleet, chosen: Sequence[Scenario], failures: dict[str, str]
) -> Iterator[Running]:
    """An origin, and before it every peer that is measured in one of these scenarios.

    A peer that does not start is noted in `failures` and left out.
    """
    folder.mkdir()
    running = Running((origin.websocket if fleet.tunnel else origin.http)(folder, plan.driver_core))
    pool = plan.pool if fleet.pool == LAB_POOL else fleet.pool or None
    peers, counting = known(plan.built), forms(plan.built, NEVER_REACHED)
    try:
        pair = make_pair(folder) if fleet.secure else None
        limited = any(scenario.kind == "limited" for scenario in chosen)
        for name in plan.peers:
            if not any(plan.measures(scenario, name) for scenario in chosen) or (fleet.cached and name not in CACHING):
                continue
            (folder / name).mkdir()
            place = Place(running.behind.port, folder / name, plan.proxy_core, pool, pair, fleet.cached)
            try:
                running.servers.append(peers[name](place, name))
                if limited and name in counting:
                    (folder / f"{name}-limited").mkdir()
                    again = replace(place, folder=folder / f"{name}-limited")
                    running.limited.append(counting[name](again, name))
            except BenchError as error:
                failures[name] = str(error)
        yield running
    finally:
        for server in (*running.servers, *running.limited, running.behind):
            server.stop()


def cost(scenario: Scenario, sample: Sample) -> float:
    """The sample in the scenario's unit."""
    if scenario.unit == LATENCY:
        return sample.p99
    if scenario.unit == PER_MIB:
        moved = sample.sent_bytes if scenario.body else sample.received_bytes
        return sample.spent.proxy_ns / 1000 / max(moved / MIB, 1e-9)
    return sample.spent.proxy_ns / 1000 / max(sample.answers, 1)


def one_round(
    scenario: Scenario, server: Server, behind: Server, plan: Plan, folder: Path, *, first: bool = True
) -> Sample:
    """One measurement of one peer; programs that measure whole seconds warm it up before the first alone."""
    if scenario.kind == "http2":
        return h2load.measure(server.port, scenario, plan.seconds, server.pids, behind.pids, warm=first)
    if scenario.kind == "handshake":
        return handshakes.measure(server.port, plan.seconds, server.pids, behind.pids)
    seconds = plan.seconds * scenario.lasting
    if scenario.fleet.secure and not plan.wrk:
        raise BenchError("needs wrk, which is not installed")
    if plan.wrk and scenario.body <= MIB and scenario.kind not in ("websocket", "paced"):
        return wrk.measure(
            server.port, scenario, folder, seconds, plan.fields, server.pids, behind.pids, warm=first
        )  # fmt: skip
    numbers = range(scenario.connections)
    poller = select.epoll()
    if scenario.fleet.tunnel:
        shakes = [heads.upgrade(server.port, number) for number in numbers]
        connections = open_websocket(server.port, shakes, heads.frame(scenario.body))
    else:
        method, body = ("POST" if scenario.body else "GET"), b"x" * scenario.body
        connections = open_http(
            server.port, [heads.request(method, scenario.target, server.port, number, body) for number in numbers]
        )
    try:
        load = Paced(connections, plan.rate, poller) if scenario.kind == "paced" else Load(connections)
        return load.measure(plan.warm, seconds, server.pids, behind.pids)
    finally:
        poller.close()
        close(connections)


def loaded(scenarios: Sequence[Scenario], plan: Plan, folder: Path, results: Results, say: Say) -> Memory:
    """Every scenario that is measured under load, round by round, the peers taking turns. Their memory at the end."""
    memory: Memory = {}
    for fleet in FLEETS:
        chosen = [scenario for scenario in scenarios if scenario.fleet == fleet and not scenario.idle]
        if not chosen:
            continue
        failures: dict[str, str] = {}
        with started(plan, folder / fleet.name, fleet, chosen, failures) as running:
            for scenario in chosen:
                results[scenario.name] = {name: Series(failure=failures.get(name, "")) for name in plan.peers}
            for group in groups(chosen):
                for number in range(plan.rounds):
                    for scenario in group:
                        if number >= scenario.rounds(plan.rounds):
                            continue
                        for server in running.of(scenario):
                            series = results[scenario.name][server.name]
                            if not series.failure and plan.measures(scenario, server.name):
                                say(f"{scenario.name}: round {number + 1}/{plan.rounds}, {server.name}")
                                measure_into(series, scenario, server, running.behind, plan, folder)
            for server in running.servers:
                where = f"{server.name}, {fleet.name}"
                memory[where] = proportional_kib(server.pids), resident_kib(server.pids)
    return memory


def measure_into(series: Series, scenario: Scenario, server: Server, behind: Server, plan: Plan, folder: Path) -> None:
    """Add one round to a series, or why it could not be measured."""
    try:
        sample = one_round(scenario, server, behind, plan, folder, first=not series.samples)
    except subprocess.TimeoutExpired as late:
        series.failure = f"{late.cmd[0]} did not end within {late.timeout:.0f} s"
        return
    except (BenchError, OSError) as error:
        series.failure = f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)
        return
    series.samples.append(sample)
    series.values.append(cost(scenario, sample))


def idle(scenarios: Sequence[Scenario], plan: Plan, folder: Path, results: Results, say: Say) -> None:
    """Memory and processor use of connections that do nothing, all peers at the same time."""
    for fleet in FLEETS:
        chosen = [scenario for scenario in scenarios if scenario.fleet == fleet and scenario.idle]
        if not chosen:
            continue
        failures: dict[str, str] = {}
        with started(plan, folder / f"idle-{fleet.name}", fleet, chosen, failures) as running:
            for scenario in chosen:
                results[scenario.name] = {name: Series(failure=failures.get(name, "")) for name in plan.peers}
            parked: list[Parked] = []
            for server in running.servers:
                if server.name in FLOORS:
                    continue
                say(f"{chosen[0].name}: opening {chosen[0].connections} connections, {server.name}")
                try:
                    parked.append(open_idle(chosen[0], server, running.behind, plan))
                except (BenchError, OSError) as error:
                    for scenario in chosen:
                        results[scenario.name][server.name].failure = str(error)
            watch(chosen, parked, plan, results, say)


def open_idle(scenario: Scenario, server: Server, behind: Server, plan: Plan) -> Parked:
    """Open the connections, each used once. A short load comes first, so that nothing is first-time."""
    numbers = range(scenario.connections)
    if scenario.fleet.tunnel:
        message = heads.frame(scenario.body)
        shakes = [heads.upgrade(server.port, number) for number in numbers]
        warm = open_websocket(server.port, shakes[:32], message)
    else:
        requests = [heads.request("GET", scenario.target, server.port, number) for number in numbers]
        warm = open_http(server.port, requests[:32])
    Load(warm).measure(0, plan.warm, server.pids, behind.pids)
    close(warm)
    time.sleep(SETTLE_SECONDS)
    before = proportional_kib(server.pids)
    tunnelled = scenario.fleet.tunnel
    kept = open_websocket(server.port, shakes, message) if tunnelled else open_http(server.port, requests)
    time.sleep(SETTLE_SECONDS)
    return Parked(server, kept, (proportional_kib(server.pids) - before) / scenario.connections)


def watch(chosen: Sequence[Scenario], parked: Sequence[Parked], plan: Plan, results: Results, say: Say) -> None:
    """Watch processor use while nothing happens, and see that no connection was lost."""
    for scenario in chosen:
        if scenario.unit == SHARE:
            say(f"{scenario.name}: {plan.idle_seconds:.0f} s of nothing")
            before = [processor_ns(group.server.pids) for group in parked]
            time.sleep(plan.idle_seconds)
            values = [
                (processor_ns(group.server.pids) - first) / 1e7 / plan.idle_seconds
                for group, first in zip(parked, before, strict=True)
            ]
        else:
            values = [group.each_kib for group in parked]
        for group, value in zip(parked, values, strict=True):
            series = results[scenario.name][group.server.name]
            lost = sum(not silent(connection.sock) for connection in group.connections)
            if lost:
                series.failure = f"{lost} idle connections were closed"
            else:
                series.values.append(value)
    for group in parked:
        close(group.connections)


def silent(sock: socket.socket) -> bool:
    """Open, with nothing to read."""
    try:
        sock.setblocking(False)
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
