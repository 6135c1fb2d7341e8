"""How far the trial is: one bar for all of it, one for the phase that runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from trial.phases import Advance

PHASES = 4
"""Of one round on one site."""
REFRESHES = 4
"""In a second; each costs the machine that is measured."""


@contextmanager
def shown(rounds: int, sites: int) -> Iterator[Callable[[str, str, float], Advance]]:
    """Bars on a terminal; a line for each phase elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<44}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=REFRESHES, disable=not console.is_terminal) as bars:
        whole = bars.add_task("all rounds", total=rounds * sites * PHASES)
        phase = bars.add_task("starting", total=None)
        begun = 0

        def step(where: str, phase_name: str, size: float) -> Advance:
            nonlocal begun
            name = f"{where}: {phase_name}"
            bars.update(whole, completed=begun)
            begun += 1
            bars.reset(phase, description=name, total=size)
            if not console.is_terminal:
                console.print(f"{begun}/{rounds * sites * PHASES} {name}", highlight=False)
            return lambda amount: bars.advance(phase, amount)

        yield step
        bars.update(whole, completed=rounds * sites * PHASES)
