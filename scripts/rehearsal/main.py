"""The drill: everything at once, and whether every failure is explained."""

import asyncio

from endurance.command import Command
from endurance.ledger import Ledger
from endurance.options import Options
from endurance.report import Report
from endurance.run import run
from endurance.traffic import Event, Traffic

from rehearsal.drill import Drill
from rehearsal.stage import Stage

SECONDS = {
    "deployments": 40.0,
    "reloads": 60.0,
    "workers killed": 75.0,
    "upgrades": 150.0,
    "upstreams restarted or killed": 45.0,
    "log rotations": 50.0,
}
"""How long after each other the events of a kind are; in a short drill, so that each happens twice."""


def events(stage: Stage, ledger: Ledger, seconds: float) -> list[Event]:
    """What happens, and how often."""
    actions = {
        "deployments": lambda _: stage.deploy(ledger),
        "reloads": stage.reload_once,
        "workers killed": lambda _: stage.kill_worker(ledger),
        "upgrades": lambda _: stage.upgrade(ledger),
        "upstreams restarted or killed": lambda number: stage.restart_peers(number, ledger),
        "log rotations": stage.rotate,
    }
    return [Event(min(SECONDS[name], seconds * 0.4), act) for name, act in actions.items()]


async def drill(options: Options, stage: Stage) -> Report:
    """Run the traffic and the events, and judge. BenchError when the stage cannot be run."""
    await asyncio.to_thread(stage.open)
    stage.moments = {name: [] for name in SECONDS}
    drilled = Drill(options, stage)
    ledger, seconds = drilled.ledger, options.seconds
    traffic = Traffic(stage, ledger, seconds, options.rate, events(stage, ledger, seconds))
    lasted = await run(traffic, drilled.take, drilled.progress)
    return drilled.report(lasted, await asyncio.to_thread(stage.close))


COMMAND = Command(
    "drill",
    "Mixed traffic, and all at once: deployments by command, reloads, certificates that are renewed, killed workers, "
    "upgrades of the gateway, killed upstreams, log rotation. Every failure is explained or counts.",
    least_minutes=0.1,
    rate=20.0,
    site=Stage,
    run=drill,
)
