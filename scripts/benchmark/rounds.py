"""Runs the scenarios: servers up, interleaved rounds, samples collected."""

import contextlib
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark import h2load, handshakes, heads, origin, wrk
from benchmark.load import Connection, Load, Sample, close, open_http, open_websocket
from benchmark.measure import BenchError, processor_ns, proportional_kib, resident_kib
from benchmark.peers import DEPLOYED_POOLS, GATEWAY, PEERS, gateway, make_pair
from benchmark.process import Server
from benchmark.scenarios import DEPLOYED, FLEETS, MIB, PER_MIB, SECURE, SHARE, TUNNEL, Scenario, groups

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
    peers: Sequence[str]
    driver_core: int
    proxy_core: int
    only_bars: bool
    load_before: float


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
class Fleet:
    """An origin and the servers in front of it; `limited` is the gateway once more, counting rates."""

    behind: Server
    servers: list[Server] = field(default_factory=list)
    limited: list[Server] = field(default_factory=list)

    def of(self, scenario: Scenario) -> list[Server]:
        """Those that a scenario is measured with."""
        return self.limited if scenario.kind == "limited" else self.servers


@contextlib.contextmanager
def started(plan: Plan, folder: Path, kind: str, failures: dict[str, str], *, limited: bool = False) -> Iterator[Fleet]:
    """An origin and every peer in front of it. A peer that does not start is noted in `failures` and left out."""
    folder.mkdir()
    fleet = Fleet((origin.websocket if kind == TUNNEL else origin.http)(folder, plan.driver_core))
    port = fleet.behind.port
    try:
        pair = make_pair(folder) if kind == SECURE else None
        for name in plan.peers:
            try:
                pool = DEPLOYED_POOLS[name] if kind == DEPLOYED else plan.pool
                fleet.servers.append(PEERS[name](port, folder, plan.proxy_core, pool, pair))
            except BenchError as error:
                failures[name] = str(error)
        if limited and GATEWAY in plan.peers:
            (folder / "limited").mkdir()
            fleet.limited.append(gateway(port, folder / "limited", plan.proxy_core, plan.pool, None, NEVER_REACHED))
        yield fleet
    finally:
        for server in (*fleet.servers, *fleet.limited, fleet.behind):
            server.stop()


def cost(scenario: Scenario, sample: Sample) -> float:
    """The sample in the scenario's unit."""
    if scenario.unit == PER_MIB:
        moved = sample.sent_bytes if scenario.body else sample.received_bytes
        return sample.proxy_ns / 1000 / max(moved / MIB, 1e-9)
    return sample.proxy_ns / 1000 / max(sample.answers, 1)


def one_round(scenario: Scenario, server: Server, behind: Server, plan: Plan, folder: Path) -> Sample:
    """One measurement of one peer."""
    if scenario.kind == "http2":
        return h2load.measure(server.port, scenario, plan.seconds, server.pids, behind.pids)
    if scenario.kind == "handshake":
        return handshakes.measure(server.port, plan.seconds, server.pids, behind.pids)
    if scenario.fleet == SECURE and not plan.wrk:
        raise BenchError("needs wrk, which is not installed")
    if plan.wrk and scenario.body <= MIB and scenario.fleet != TUNNEL:
        seconds = plan.seconds * scenario.lasting
        return wrk.measure(server.port, scenario, folder, seconds, plan.fields, server.pids, behind.pids)
    numbers = range(scenario.connections)
    if scenario.fleet == TUNNEL:
        shakes = [heads.upgrade(server.port, number) for number in numbers]
        connections = open_websocket(server.port, shakes, heads.frame(scenario.body))
    else:
        method, body = ("POST" if scenario.body else "GET"), b"x" * scenario.body
        connections = open_http(
            server.port, [heads.request(method, scenario.target, server.port, number, body) for number in numbers]
        )
    try:
        return Load(connections).measure(plan.warm, plan.seconds, server.pids, behind.pids)
    finally:
        close(connections)


def loaded(scenarios: Sequence[Scenario], plan: Plan, folder: Path, results: Results, say: Say) -> Memory:
    """Every scenario that is measured under load, round by round, the peers taking turns. Their memory at the end."""
    memory: Memory = {}
    for kind in FLEETS:
        chosen = [scenario for scenario in scenarios if scenario.fleet == kind and not scenario.idle]
        if not chosen:
            continue
        failures: dict[str, str] = {}
        limited = any(scenario.kind == "limited" for scenario in chosen)
        with started(plan, folder / kind, kind, failures, limited=limited) as fleet:
            for scenario in chosen:
                results[scenario.name] = {name: Series(failure=failures.get(name, "")) for name in plan.peers}
            for group in groups(chosen):
                for number in range(plan.rounds):
                    for scenario in group:
                        for server in fleet.of(scenario):
                            series = results[scenario.name][server.name]
                            if not series.failure and (scenario.wanted(server.name) or not plan.only_bars):
                                say(f"{scenario.name}: round {number + 1}/{plan.rounds}, {server.name}")
                                measure_into(series, scenario, server, fleet.behind, plan, folder)
            for server in fleet.servers:
                where = f"{server.name}, {fleet.behind.name}{' over TLS' if kind == SECURE else ''}"
                memory[where] = proportional_kib(server.pids), resident_kib(server.pids)
    return memory


def measure_into(series: Series, scenario: Scenario, server: Server, behind: Server, plan: Plan, folder: Path) -> None:
    """Add one round to a series, or why it could not be measured."""
    try:
        sample = one_round(scenario, server, behind, plan, folder)
    except (BenchError, OSError) as error:
        series.failure = f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)
        return
    series.samples.append(sample)
    series.values.append(cost(scenario, sample))


def idle(scenarios: Sequence[Scenario], plan: Plan, folder: Path, results: Results, say: Say) -> None:
    """Memory and processor use of connections that do nothing, all peers at the same time."""
    for kind in FLEETS:
        chosen = [scenario for scenario in scenarios if scenario.fleet == kind and scenario.idle]
        if not chosen:
            continue
        failures: dict[str, str] = {}
        with started(plan, folder / f"idle-{kind}", kind, failures) as fleet:
            for scenario in chosen:
                results[scenario.name] = {name: Series(failure=failures.get(name, "")) for name in plan.peers}
            parked: list[Parked] = []
            for server in fleet.servers:
                say(f"{chosen[0].name}: opening {chosen[0].connections} connections, {server.name}")
                try:
                    parked.append(open_idle(chosen[0], server, fleet.behind, plan))
                except (BenchError, OSError) as error:
                    for scenario in chosen:
                        results[scenario.name][server.name].failure = str(error)
            watch(chosen, parked, plan, results, say)


def open_idle(scenario: Scenario, server: Server, behind: Server, plan: Plan) -> Parked:
    """Open the connections, each used once. A short load comes first, so that nothing is first-time."""
    numbers = range(scenario.connections)
    if scenario.fleet == TUNNEL:
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
    tunnelled = scenario.fleet == TUNNEL
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
