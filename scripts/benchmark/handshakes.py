"""Full TLS handshakes by openssl's s_time: one new connection after the other, never an old session.

wrk can open a new connection for each request too, but comes back with the session ticket of the one before: that is
what the kind `resumed` measures, with a request on each.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence

from benchmark.load import PATIENCE_SECONDS, Sample
from benchmark.measure import BenchError, Meter

CLIENTS = 4
"""Processes that connect at the same time, each one connection after the other."""


def drive(port: int, seconds: float) -> list[str]:
    """Run the clients once; their reports."""
    command = [
        "openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time", f"{max(1, round(seconds))}",
    ]  # fmt: skip
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(CLIENTS)
    ]
    reports = [client.communicate(timeout=seconds + 3 * PATIENCE_SECONDS)[0] for client in running]
    for client, report in zip(running, reports, strict=True):
        if client.returncode:
            raise BenchError(f"openssl s_time failed: {report.strip()[-200:]}")
    return reports


def measure(port: int, seconds: float, proxy: Sequence[int], origin: Sequence[int]) -> Sample:
    """Warm up for a second, then measure one run."""
    if shutil.which("openssl") is None:
        raise BenchError("needs openssl, which is not installed")
    drive(port, 1)
    meter = Meter(proxy, origin)
    reports = drive(port, seconds)
    spent = meter.stop()
    counts = [re.search(r"(\d+) connections in \d+ real seconds", report) for report in reports]
    answers = sum(int(count[1]) for count in counts if count)
    if not all(counts) or not answers:
        raise BenchError(f"s_time's report is not understood: {reports[0]!r}")
    mean = spent.seconds * CLIENTS / answers * 1000
    return Sample(
        answers=answers,
        sent_bytes=0,
        received_bytes=0,
        spent=spent,
        p50=mean,  # s_time tells the mean alone
        p99=mean,
    )
