"""One round on one site: watchers connect, users ask, debates run unwatched, debates run watched."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from benchmark.measure import processor_ns, proportional_kib

from trial.clients import Client, Pace, Seen, Watcher, open_all
from trial.sites import Site

Advance = Callable[[float], None]
Step = Callable[[str, float], Advance]
"""Called when a phase begins, with its name and size; what it returns is called as the phase goes on."""

QUESTION = "Should we adopt event sourcing?"
WAIT_SECONDS = 50
"""How long a request waits for the end of its debate; less than clients.PATIENCE."""
DEBATES_SECONDS = 90.0
"""By when the debates of one phase must have ended."""
SETTLE_SECONDS = 1.0
TICK_SECONDS = 0.25
WARM_CALLS, WARM_WATCHERS = 24, 24


@dataclass(frozen=True)
class Plan:
    """How much load, and for how long."""

    rounds: int
    seconds: float
    users: int
    watchers: int
    debates: int
    argued: int
    answer: float
    rate: float
    workers: int


@dataclass
class Series:
    """All rounds of one site: the values of each by name, what the clients saw, and what made it impossible."""

    values: list[dict[str, float]] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    failure: str = ""


@dataclass
class Cost:
    """What a phase took: seconds, and processor time in ns of the front, the application and this process."""

    seconds: float = 0.0
    front: int = 0
    application: int = 0
    own: int = 0


@contextmanager
def metered(site: Site) -> Iterator[Cost]:
    """The cost of the block."""
    front = site.front.pids if site.front else []
    application = site.application.pids if site.application else []
    cost = Cost()
    began, before = time.monotonic(), (processor_ns(front), processor_ns(application), time.process_time_ns())
    yield cost
    cost.seconds = time.monotonic() - began
    cost.front = processor_ns(front) - before[0]
    cost.application = processor_ns(application) - before[1]
    cost.own = time.process_time_ns() - before[2]


def quantile(values: list[float], part: float) -> float:
    """The value that `part` of them do not exceed; `values` not empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def spread(name: str, values: list[float]) -> dict[str, float]:
    """The usual three quantiles, named; nothing of nothing."""
    return {f"{name}_p{part * 100:g}_ms": quantile(values, part) for part in (0.5, 0.95, 0.99)} if values else {}


@asynccontextmanager
async def clients(site: Site, plan: Plan, seen: Seen) -> AsyncIterator[tuple[list[Client], list[Watcher]]]:
    """Users and watchers, not yet connected. Where they share one address, they share its pace."""
    shared = Pace(plan.rate)

    def client(number: int) -> Client:
        return Client(site, number, Pace(plan.rate) if site.spread else shared, seen)

    async with AsyncExitStack() as sessions:
        users = [await sessions.enter_async_context(client(number)) for number in range(plan.users)]
        watchers = [Watcher(client(plan.users + number)) for number in range(plan.watchers)]
        for watcher in watchers:
            sessions.push_async_callback(watcher.close)
        yield users, watchers


async def warm(site: Site, plan: Plan, series: Series) -> None:
    """Use everything once, so that nothing is first-time when it is measured. Only faults are remembered."""
    seen = Seen(faults=series.seen.faults)
    async with clients(site, plan, seen) as (users, watchers):
        few = await open_all(watchers[:WARM_WATCHERS])
        calls = [("/api/agents/availability", user) for user in users[:WARM_CALLS]]
        await asyncio.gather(*(user.ask(path, []) for path, user in calls))
        created = await users[0].ask("/api/debates", [], question(site, plan))
        if created is not None:
            async with asyncio.timeout(DEBATES_SECONDS):
                await asyncio.gather(*(watcher.follow(created["debate_id"]) for watcher in few))


async def one_round(site: Site, plan: Plan, series: Series, step: Step) -> None:
    """All phases once. Raises BenchError when a process under measurement ended, TimeoutError when debates did not."""
    first = not series.values
    values: dict[str, float] = {}
    async with clients(site, plan, series.seen) as (users, watchers):
        before = memory(site) if first else {}
        advance = step("opening WebSockets", plan.watchers)
        opened = await open_all(watchers)
        advance(plan.watchers)
        if first:  # later rounds find room that the first one left
            await asyncio.sleep(SETTLE_SECONDS)
            for name, kib in memory(site).items():
                values[f"{name}_kib_per_watcher"] = max(0.0, kib - before[name]) / max(1, len(opened))
        values |= await calls(site, plan, series.seen, users, step("API calls", plan.seconds))
        values |= await unwatched(site, plan, series.seen, users, step("debates, unwatched", plan.debates))
        alone = values.get("application_ms_per_debate", 0.0) * plan.debates
        advance = step("debates, watched", len(opened))
        values |= await watched(site, plan, series.seen, users, opened, alone, advance)
        values |= {f"{name}_mib": kib / 1024 for name, kib in memory(site).items()}
    series.values.append(values)


def memory(site: Site) -> dict[str, int]:
    """KiB of the front and the application, pages they share counted once."""
    servers = {"front": site.front, "application": site.application}
    return {name: proportional_kib(server.pids) for name, server in servers.items() if server}


def question(site: Site, plan: Plan) -> dict[str, object]:
    """A debate that goes through all its rounds."""
    agents = list(site.agents)
    return {"question": QUESTION, "agents": agents, "rounds": plan.argued, "early_stop": False, "timeout": 300}


async def calls(site: Site, plan: Plan, seen: Seen, users: list[Client], advance: Advance) -> dict[str, float]:
    """Every user reads, one request after the other, for so many seconds."""
    newest = await users[0].ask("/api/debates?limit=1", [])
    one = newest["debates"][0]["id"] if newest and newest["debates"] else ""
    paths = ["/api/agents/availability", "/api/debates?limit=20"]
    paths += [f"/api/debates/{one}", f"/api/debates/{one}/events?limit=100"] if one else []
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + plan.seconds

    async def use(number: int, user: Client) -> None:
        turn = number
        while loop.time() < end:
            await user.ask(paths[turn % len(paths)], latencies)
            turn += 1

    async def tick() -> None:
        while loop.time() < end:
            await asyncio.sleep(TICK_SECONDS)
            advance(TICK_SECONDS)

    with metered(site) as cost:
        await asyncio.gather(tick(), *(use(number, user) for number, user in enumerate(users)))
    count = len(latencies)
    seen.api += latencies
    seen.counts["requests"] += count
    found = spread("api", latencies) | {"requests_per_second": count / cost.seconds, "calls_driver_share": share(cost)}
    return found | each(site, cost, "us_per_request", count, 1e3)


async def unwatched(site: Site, plan: Plan, seen: Seen, users: list[Client], advance: Advance) -> dict[str, float]:
    """Debates, all at once, each waited for by the request that asked it: what debates cost by themselves."""

    async def one(number: int) -> None:
        path = f"/api/debates?wait={WAIT_SECONDS}"
        told = await users[number % len(users)].ask(path, [], question(site, plan))
        if told is not None and told.get("status") != "completed":
            seen.fault("errors", f"{told.get('debate_id')}: {told.get('status')} after {WAIT_SECONDS} s")
        elif told is not None:
            seen.counts["completed"] += 1
        advance(1)

    seen.counts["debates"] += plan.debates
    with metered(site) as cost:
        await asyncio.gather(*(one(number) for number in range(plan.debates)))
    found = each(site, cost, "ms_per_debate", plan.debates, 1e6)
    return found | {"unwatched_seconds": cost.seconds, "unwatched_driver_share": share(cost)}


async def watched(
    site: Site, plan: Plan, seen: Seen, users: list[Client], watchers: list[Watcher], alone: float, advance: Advance
) -> dict[str, float]:
    """As many debates again, with the watchers spread over them, each following its debate from the first event.

    `alone` is what the application took for as many unwatched ones, in ms: what is above it, the watchers cost.
    """
    asked: list[float] = []
    before, arrived = seen.counts["messages"], len(seen.delivered)

    async def follow(watcher: Watcher, debate: str) -> bool:
        completed = await watcher.follow(debate)
        advance(1)
        return completed

    async def one(number: int) -> None:
        told = await users[number % len(users)].ask("/api/debates", asked, question(site, plan))
        if told is not None:
            mine = watchers[number :: plan.debates]
            if any(await asyncio.gather(*(follow(watcher, told["debate_id"]) for watcher in mine))):
                seen.counts["completed"] += 1

    seen.counts["debates"] += plan.debates
    with metered(site) as cost:
        async with asyncio.timeout(DEBATES_SECONDS):
            await asyncio.gather(*(one(number) for number in range(plan.debates)))
    messages = seen.counts["messages"] - before
    seen.asked += asked
    found = spread("asked", asked) | spread("delivered", seen.delivered[arrived:])
    found |= {"watched_seconds": cost.seconds, "messages_per_second": messages / cost.seconds}
    found["watched_driver_share"] = share(cost)
    if site.front is not None:
        found["front_us_per_message"] = cost.front / 1e3 / max(1, messages)
    if site.application is not None:
        found["application_ms_per_watcher"] = (cost.application / 1e6 - alone) / max(1, len(watchers))
    return found


def share(cost: Cost) -> float:
    """How much of one core this process took."""
    return cost.own / 1e9 / cost.seconds


def each(site: Site, cost: Cost, unit: str, count: int, ns: float) -> dict[str, float]:
    """Processor time of front and application for each of so many."""
    parts = {"front": (site.front, cost.front), "application": (site.application, cost.application)}
    return {f"{name}_{unit}": spent / ns / max(1, count) for name, (server, spent) in parts.items() if server}
