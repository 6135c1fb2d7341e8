"""Load by wrk, which leaves the most of its core to the origin.

A script cannot tell connections apart, but threads: with as many threads as heads, each connection repeats its own
fields (`connection`); or each request takes the next of many heads (`request`).
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmark import heads
from benchmark.load import PATIENCE_SECONDS, Sample
from benchmark.measure import BenchError, Meter, Spent
from benchmark.scenarios import Scenario

VARIANTS = 61
MOST_THREADS = 32
ROTATING = """local requests = {{ {requests} }}
local turn = 0
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
"""
CONSTANT = """local requests = {{ {requests} }}
local threads = 0
setup = function(thread)
  thread:set("number", threads)
  threads = threads + 1
end
init = function()
  own = requests[number % #requests + 1]
end
request = function()
  return own
end
"""
TO_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def script(folder: Path, port: int, scenario: Scenario, fields: str) -> Path:
    """The Lua script that chooses among prepared requests."""
    method = "POST" if scenario.body else "GET"
    body = b"x" * scenario.body
    extra = "Connection: close\r\n" if scenario.kind == "resumed" else ""
    prepared = (
        heads.request(method, scenario.target, port, number, body, extra).decode() for number in range(VARIANTS)
    )
    quoted = ",\n".join('"' + text.replace("\r", "\\r").replace("\n", "\\n") + '"' for text in prepared)
    path = folder / f"{scenario.name}-{port}.lua"
    path.write_text((CONSTANT if fields == "connection" else ROTATING).format(requests=quoted))
    return path


def drive(port: int, scenario: Scenario, lua: Path, seconds: float, fields: str) -> str:
    """Run wrk once; its report."""
    threads = min(scenario.connections, MOST_THREADS) if fields == "connection" else 1
    scheme = "https" if scenario.fleet.secure else "http"
    command = [
        "wrk", "-t", str(threads), "-c", str(scenario.connections), "-d", f"{max(1, round(seconds))}s", "--latency",
        "--timeout", f"{PATIENCE_SECONDS:.0f}s", "-s", str(lua), f"{scheme}://127.0.0.1:{port}{scenario.target}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 3 * PATIENCE_SECONDS, check=False)
    if done.returncode:
        raise BenchError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def measure(
    port: int,
    scenario: Scenario,
    folder: Path,
    seconds: float,
    fields: str,
    proxy: Sequence[int],
    origin: Sequence[int],
    *,
    warm: bool,
) -> Sample:
    """Measure one run, after a second to warm up if asked for; wrk's connecting is part of what is counted."""
    lua = script(folder, port, scenario, fields)
    if warm:
        drive(port, scenario, lua, 1, fields)
    meter = Meter(proxy, origin)
    report = drive(port, scenario, lua, seconds, fields)
    return parse(report, meter.stop())


def parse(report: str, spent: Spent) -> Sample:
    """Read wrk's report. BenchError if any answer failed."""
    bad = re.search(r"(Socket errors:.*|Non-2xx.*)", report)
    if bad:
        raise BenchError(f"wrk: {bad[1]}")
    total = re.search(r"(\d+) requests in", report)
    transfer = re.search(r"([\d.]+)(B|KB|MB|GB) read", report)
    p50 = re.search(r"50%\s+([\d.]+)(\w+)", report)
    p99 = re.search(r"99%\s+([\d.]+)(\w+)", report)
    if not (total and transfer and p50 and p99):
        raise BenchError(f"wrk's report is not understood: {report!r}")
    scale = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[transfer[2]]
    return Sample(
        answers=int(total[1]),
        sent_bytes=0,
        received_bytes=int(float(transfer[1]) * scale),
        spent=spent,
        p50=float(p50[1]) * TO_MS[p50[2]],
        p99=float(p99[1]) * TO_MS[p99[2]],
    )
