"""Gateways that end with their test, and a ground with directories of several accounts."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.process.running import TINY, TinyGateway

OTHER = 65534
"""An account that is not root."""
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


@pytest.fixture
def ground() -> Iterator[Path]:
    """ours/ is root's alone, theirs/ another account's, both/ like /tmp; secret is root's."""
    with tempfile.TemporaryDirectory() as name:
        ground = Path(name)
        ground.chmod(0o755)
        for directory in ("ours", "theirs", "both"):
            (ground / directory).mkdir()
        os.chown(ground / "theirs", OTHER, OTHER)
        (ground / "both").chmod(0o1777)
        (ground / "secret").write_text("root's")
        (ground / "secret").chmod(0o600)
        yield ground
