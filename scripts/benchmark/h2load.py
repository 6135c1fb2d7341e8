"""Load over HTTP/2 by nghttp2's h2load: all connections send the same browser-like fields, ten streams each."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark import heads
from benchmark.load import PATIENCE_SECONDS, Sample, percentile
from benchmark.measure import BenchError, Meter, Spent
from benchmark.scenarios import Scenario

STREAMS = 10
SCALE = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def drive(port: int, scenario: Scenario, seconds: float, log: Path) -> str:
    """Run h2load once; its report. A line for each request goes to `log`."""
    fields = [word for line in heads.fields(0).splitlines() for word in ("-H", line)]
    command = [
        "h2load", "-c", str(scenario.connections), "-m", str(STREAMS), "-D", f"{max(1, round(seconds))}",
        "--log-file", str(log), *fields, f"https://127.0.0.1:{port}{scenario.target}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 3 * PATIENCE_SECONDS, check=False)
    if done.returncode:
        raise BenchError(f"h2load failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def measure(
    port: int, scenario: Scenario, seconds: float, proxy: Sequence[int], origin: Sequence[int], *, warm: bool
) -> Sample:
    """Measure one run, after a second to warm up if asked for; h2load's connecting is part of what is counted."""
    if shutil.which("h2load") is None:
        raise BenchError("needs h2load (Debian: nghttp2-client), which is not installed")
    with tempfile.TemporaryDirectory() as folder:
        if warm:
            drive(port, scenario, 1, Path(folder, "warm"))
        log = Path(folder, "log")
        meter = Meter(proxy, origin)
        report = drive(port, scenario, seconds, log)
        spent = meter.stop()
        return parse(report, log.read_text(), spent)


def parse(report: str, log: str, spent: Spent) -> Sample:
    """Read h2load's report and its log (start, status and microseconds of each request). BenchError if any failed."""
    counts = re.search(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed", report)
    traffic = re.search(r"traffic: ([\d.]+)(B|KB|MB|GB) ", report)
    if not (counts and traffic) or "Application protocol: h2" not in report:
        raise BenchError(f"h2load's report is not understood: {report!r}")
    if int(counts[1]) != int(counts[2]):
        raise BenchError(f"h2load: {counts[0]}")
    latencies = sorted(int(line.split("\t")[2]) / 1000 for line in log.splitlines())
    return Sample(
        answers=int(counts[2]),
        sent_bytes=0,
        received_bytes=int(float(traffic[1]) * SCALE[traffic[2]]),
        spent=spent,
        p50=percentile(latencies, 50),
        p99=percentile(latencies, 99),
    )
