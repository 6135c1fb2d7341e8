"""A command that puts the gateway under load and judges it: what soak and drill have in common."""

import asyncio
import atexit
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmark.measure import BenchError
from benchmark.process import end_the_rest
from benchmark.report import plain

from endurance import options
from endurance.options import Options
from endurance.report import Report
from endurance.site import Site

Place = TypeVar("Place", bound=Site)
CLEAN, NOT_CLEAN, NOT_RUN, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""


@dataclass(frozen=True)
class Command(Generic[Place]):
    """scripts/NAME. `site` makes in a folder, with so many workers, what `run` drives and judges."""

    name: str
    description: str
    least_minutes: float
    rate: float
    site: Callable[[Path, int], Place]
    run: Callable[[Options, Place], Coroutine[Any, Any, Report]]

    def main(self, words: Sequence[str] | None = None) -> int:
        """Run and report; the exit code."""
        told = options.read(self.name, self.description, least_minutes=self.least_minutes, rate=self.rate, words=words)
        if not sys.platform.startswith("linux"):
            print(f"scripts/{self.name} reads /proc: it needs Linux", file=sys.stderr)
            return NOT_RUN
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends this, the servers end with it
        atexit.register(end_the_rest)  # after the threads, which may start one more
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        load = os.getloadavg()[0]
        try:
            report = self._report(told)
        except KeyboardInterrupt:
            return INTERRUPTED
        if report is None:
            return NOT_RUN
        print(plain(report.account_rows()), end="\n\n")
        print(plain(report.verdict_rows()))
        for line in report.unexplained:
            print(f"unexplained: {line}")
        if told.out is not None:
            report.save(told.out, load)
            print(f"\nwritten: {told.out}/{self.name}.md, {self.name}.svg")
        return CLEAN if report.clean else NOT_CLEAN

    def _report(self, told: Options) -> Report | None:
        """None, with the reasons on standard error, if it could not be run. The site ends after the loop, whose threads
        may still be starting it."""
        with tempfile.TemporaryDirectory(prefix=f"{self.name}-") as folder:
            try:
                with closing(self.site(Path(folder), told.workers)) as site:
                    return asyncio.run(self.run(told, site))
            except* (BenchError, OSError) as errors:
                for error in errors.exceptions:
                    print(f"scripts/{self.name}: {error}", file=sys.stderr)
        return None
