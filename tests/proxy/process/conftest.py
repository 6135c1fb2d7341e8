"""The `gateway` fixture: start one, and it is ended with the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.process.running import TINY, TinyGateway

TOML = """\
upstream = "127.0.0.1:1"
bind = "127.0.0.1:0"
admin = "127.0.0.1:0"
access_log = "off"
workers = 1
graceful = 60
retry_wait = 1
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., TinyGateway]]:
    """Start a gateway; `more` is appended to a file that listens on ports of the kernel's choice."""
    started: list[TinyGateway] = []

    def begin(more: str = "", toml: str = TOML, **options: object) -> TinyGateway:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(TinyGateway(directory, toml=toml + more, **{"program": TINY, **options}))  # type: ignore[arg-type]
        return started[-1]

    yield begin
    for gateway in started:
        gateway.close()
