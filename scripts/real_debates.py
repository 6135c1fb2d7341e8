#!/usr/bin/env python3
"""Debates between real small models, on a server that answers one question at a time: what a user at home has.

    scripts/real_debates.py [--runs ABC] [--results DIRECTORY] [--page FILE]

Needs scripts/real-model, and some minutes of processor time for each run. Prints a table row by row. What each run
came to is kept in DIRECTORY, and FILE gets the table of all that is there, with one transcript, as Markdown. Settings
of the service come from the environment, as ARAGORA_PROSE_TOKENS=200 for shorter debates. Nothing leaves the machine.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.process import free_port

CHECKOUT = Path(__file__).resolve().parents[1]
QUESTION = "Should a small town replace its street lights by lamps that dim at night?"
PARROTED = re.compile(r"\b[0-9a-f]{12}\b|</?(?:question|context|answer [A-Z]|your answer|critique of)\b[^>\n]*>?", re.I)
STARTS = 120.0  # seconds for a server to answer
LONGEST = 1800  # seconds of a debate


@dataclass(frozen=True)
class Run:
    """One debate; `server` are arguments of the model's server, `outage` when it is away, in seconds."""

    name: str
    what: str
    agents: tuple[dict[str, str], ...]
    rules: dict[str, Any] = field(default_factory=dict)
    context: int = 2048
    server: tuple[str, ...] = ()
    outage: tuple[float, float] | None = None


def agents(number: int, *roles: str) -> tuple[dict[str, str], ...]:
    """So many agents of the one model, with these roles."""
    given = [*roles, *[""] * number][:number]
    return tuple({"type": "llamacpp", **({"role": role} if role else {})} for role in given)


TEXT = (
    "The lamps are forty years old. One costs 400 euros, and the town has 900. At night few people walk there. " * 99
)[:9500]
ROLES = ("the mayor, who has to be elected again", "the treasurer")
RUNS = (
    Run("A", "the server's defaults, by which a new request interrupts the running one", agents(2)),
    Run(
        "B", "a queue of one, 8192 tokens of context", agents(2), context=8192, server=("--interrupt_requests", "false")
    ),
    Run("C", "2 agents, 2 rounds, majority", agents(2), {"rounds": 2, "early_stop": False}),
    Run("D", "2 agents, 1 round", agents(2)),
    Run("E", "a context of 9,500 characters in a window of 1024 tokens", agents(2), {"context": TEXT}, 1024),
    Run("F", "the server is killed after 9 s and comes back after 22 s", agents(2), outage=(9.0, 22.0)),
    Run("G", "3 agents, a judge", agents(3), {"consensus": "judge"}),
    Run("H", "4 agents, no decision asked for", agents(4), {"consensus": "none"}),
    Run("I", "2 agents with roles, weighted, 2 rounds", agents(2, *ROLES), {"consensus": "weighted", "rounds": 2}),
)


def call(url: str, body: Any = None) -> Any:
    """The JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def await_answer(url: str) -> None:
    """Return when `url` answers."""
    until = time.monotonic() + STARTS
    while True:
        try:
            call(url)
            return
        except (OSError, ValueError) as error:
            if time.monotonic() > until:
                raise SystemExit(f"{url} does not answer: {error}") from None
            time.sleep(0.2)


@contextmanager
def process(command: list[str], log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the block."""
    with log.open("ab") as out:
        started = subprocess.Popen(command, cwd=CHECKOUT, stdout=out, stderr=out, env={**os.environ, **environ})
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(15)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


class Model:
    """The model's server, which may go away and come back."""

    def __init__(self, run: Run, directory: Path) -> None:
        self.port = free_port()
        self._log = directory / "model.log"
        self._command = [str(CHECKOUT / "scripts/real-model"), "serve", str(self.port), str(run.context), *run.server]
        self._running: Any = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._running = process(self._command, self._log)
        self._running.__enter__()
        await_answer(f"http://127.0.0.1:{self.port}/v1/models")

    def stop(self) -> None:
        """End it, whatever it is doing."""
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None


def debate(run: Run, directory: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Carry out one; how it ended, and its events."""
    model = Model(run, directory)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    environ = {
        "ARAGORA_DATA_DIR": str(directory / "data"),
        "LLAMACPP_BASE_URL": f"http://127.0.0.1:{model.port}",
        "ARAGORA_WORKERS": "2",
        "ARAGORA_PIDFILE": str(directory / "pid"),
    }
    gunicorn = [str(CHECKOUT / ".venv/bin/gunicorn"), "-c", "conf/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
    try:
        model.start()
        with process(gunicorn, directory / "application.log", **environ):
            await_answer(f"{base}/ready")
            body = {"question": QUESTION, "agents": list(run.agents), "rounds": 1, "timeout": LONGEST, **run.rules}
            address = f"{base}/api/debates/{call(f'{base}/api/debates', body)['debate_id']}"
            began = time.monotonic()
            outage = list(run.outage or ())
            while (found := call(address))["in_progress"]:
                if outage and time.monotonic() - began > outage[0]:
                    outage.pop(0)
                    model.start() if not outage else model.stop()
                time.sleep(0.5)
            return found, call(f"{address}/events?limit=500")["events"]
    finally:
        model.stop()


def told(run: Run, found: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    """What there is to say of a debate in a row of the table."""
    data = {kind: [event["data"] for event in events if event["type"] == kind] for kind in {e["type"] for e in events}}
    texts = [item["content"] for item in data.get("agent_message", [])]
    texts += [item["reasoning"] for kind in ("critique", "vote") for item in data.get(kind, [])]
    errors = data.get("agent_error", [])
    return {
        "run": run.name,
        "what": run.what,
        "end": found["status"] + (f": {found['reason']}" if found["status"] == "failed" else ""),
        "seconds": round(found["duration_seconds"]),
        "answers": len(data.get("agent_message", [])),
        "critiques": len(data.get("critique", [])),
        "votes": len(data.get("vote", [])),
        "errors": ", ".join(sorted({f"{item['kind']} at {item['purpose']}" for item in errors})) or "none",
        "parroted": sum(bool(PARROTED.search(text)) for text in texts),
        "tokens": found["usage"]["input"] + found["usage"]["output"],
        "cached": found["usage"]["cached"],
        "waits": len(data.get("agent_waiting", [])),
        "shortened": sum(bool(item.get("omitted")) for items in data.values() for item in items),
    }


COLUMNS = (
    "run",
    "what",
    "end",
    "seconds",
    "answers",
    "critiques",
    "votes",
    "errors",
    "parroted",
    "waits",
    "shortened",
    "tokens",
)


def row(cells: list[object]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def transcript(events: list[dict[str, Any]]) -> Iterator[str]:
    """A debate as it was said, event by event."""
    began = events[0]["timestamp"]
    for event in events:
        shown = json.dumps(event["data"], ensure_ascii=False, indent=1)
        yield f"{event['timestamp'] - began:6.1f} s  {event['type']}  {event['agent'] or ''}\n{shown}\n"


def page(results: Path, told_of: str) -> str:
    """The table of what is in `results`, and the transcript of one run."""
    kept = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("?.json"))}
    rows = [row([kept[name]["row"][column] for column in COLUMNS]) for name in kept]
    table = "\n".join([row(list(COLUMNS)), row(["---"] * len(COLUMNS)), *rows])
    said = "\n".join(transcript(kept[told_of]["events"])) if told_of in kept else ""
    return f"{table}\n\n## Run {told_of}, event by event\n\n```text\n{said}```\n"


def main() -> int:
    """Run them; 1 when one failed or repeated a mark of its prompt."""
    given = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    given.add_argument("--runs", default="".join(run.name for run in RUNS), help="which, by their letters")
    given.add_argument("--results", type=Path, default=CHECKOUT / "var/real-debates", help="where they are kept")
    given.add_argument("--page", type=Path, help="a file for the table and a transcript, as Markdown")
    given.add_argument("--transcript", default="D", help="of which run")
    options = given.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    print("\n".join([row(list(COLUMNS)), row(["---"] * len(COLUMNS))]), flush=True)
    failed = False
    for run in (run for run in RUNS if run.name in options.runs):
        with tempfile.TemporaryDirectory() as directory:
            found, events = debate(run, Path(directory))
        shown = told(run, found, events)
        failed |= found["status"] != "completed" or bool(shown["parroted"])
        kept = {"row": shown, "debate": found, "events": events}
        (options.results / f"{run.name}.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1))
        print(row([shown[column] for column in COLUMNS]), flush=True)
    if options.page:
        options.page.write_text(page(options.results, options.transcript))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
