"""The commands of docs/deployment/asgi.md, each behind the gateway: debates and WebSockets, HUP and TERM."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deployment.processes import CHECKOUT, GUNICORN, Running, gateway, load, ports
from tests.waiting import until

pytestmark = [pytest.mark.component("uvicorn"), pytest.mark.drill, pytest.mark.timeout(240)]

PAGE = (CHECKOUT / "docs" / "deployment" / "asgi.md").read_text()
COMMANDS = re.findall(r"^((?:gunicorn|uvicorn) .+)$", PAGE, re.MULTILINE)
NAMES = ["gunicorn", "gunicorn with uvicorn's worker", "uvicorn"]


@contextmanager
def served(command: str, directory: Path) -> Iterator[tuple[Running, int]]:
    """The application as the page starts it, with two workers on ports of the kernel's choice."""
    http, ws = ports(2)
    environ = {
        "ARAGORA_BIND": f"127.0.0.1:{http}",
        "ARAGORA_WS_BIND": f"127.0.0.1:{ws}",
        "ARAGORA_DATA_DIR": str(directory / "data"),
        "ARAGORA_WORKERS": "2",
        "ARAGORA_DEMO_DELAY": "0.1",
        "ARAGORA_LEASE_TTL": "1",
        "ARAGORA_KEEPALIVE": "2",
        "PYTHONWARNINGS": "default::DeprecationWarning",
    }
    program, *arguments = command.replace("--port 8080", f"--port {http}").replace("--workers 4", "--workers 2").split()
    with Running(str(Path(GUNICORN).with_name(program)), *arguments, log=directory / "asgi.log", **environ) as running:
        running.ready(http, "/ready")
        yield running, http


def test_the_page_names_three() -> None:
    assert [command.split()[0] for command in COMMANDS] == ["gunicorn", "gunicorn", "uvicorn"]
    assert "0.0.0.0" not in " ".join(COMMANDS)


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_a_load_passes_and_a_reload_loses_nothing(command: str, tmp_path: Path) -> None:
    assert "`reuse_unsafe = 0`" in PAGE
    assert "`repeat_keyed = true`" in PAGE
    flags = ("--reuse-unsafe", "0", "--repeat-keyed", "on")
    with served(command, tmp_path) as (running, http), gateway(tmp_path, http, *flags) as (_, port):
        with load(f"http://127.0.0.1:{port}") as counts:
            running.signal(signal.SIGHUP)
            gone = r"Worker exiting|Finished server process"
            until(lambda: len(re.findall(gone, running.output())) >= 2, "the end of the old workers", seconds=90)
        assert counts.lost == []
        assert counts.seen["watched"] >= 3
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
    assert not re.search("Traceback|Deprecat", running.output()), running.output()
