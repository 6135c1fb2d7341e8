"""What a run is told: how long, how much, how many workers, where its report goes."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Of one run: minutes for which traffic begins, visits a second, workers of the gateway, and the folder of its
    report, if it is kept."""

    minutes: float
    rate: float
    workers: int
    out: Path | None

    def __str__(self) -> str:
        """As on the command line, without the folder."""
        return f"--minutes {self.minutes:g} --rate {self.rate:g} --workers {self.workers}"

    @property
    def seconds(self) -> float:
        return self.minutes * 60


def read(
    name: str, description: str, *, least_minutes: float, rate: float, words: Sequence[str] | None = None
) -> Options:
    """Read the command line of scripts/NAME, by default this process'. Ends the process for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog=f"scripts/{name}",
        description=f"{description} Exit status: 0 clean, 1 not clean, 2 could not run.",
    )
    parser.add_argument("--minutes", type=float, required=True, metavar="N", help="how long the traffic lasts")
    parser.add_argument("--rate", type=float, default=rate, metavar="R", help=f"visits a second (default {rate:g})")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="workers of the gateway (default 2)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"where {name}.md and {name}.svg go (default: nowhere)")
    options = Options(**vars(parser.parse_args(words)))
    for option, least in (("minutes", least_minutes), ("rate", 1), ("workers", 1)):
        value = getattr(options, option)
        if not value >= least:
            parser.error(f"--{option} {value:g}: must be {least:g} at least")
    return options
