"""What tests of whole gateways share: gateways of their own, and an upstream that the test plays by hand."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.scripted import Manual


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Start a gateway that is ended with the test; nothing may have failed inside it."""
    started: list[Gateway] = []

    def begin(upstream: str, *flags: str, **how: object) -> Gateway:
        started.append(serve(tmp_path / f"gateway-{len(started)}", upstream, *flags, **how))  # type: ignore[arg-type]
        return started[-1]

    yield begin
    for running in started:
        running.close()
    for running in started:
        assert "Traceback" not in running.log, running.log


@pytest.fixture
def manual() -> Iterator[Manual]:
    """Closed with everything it accepted."""
    upstream = Manual()
    yield upstream
    for sock in upstream.kept:
        sock.close()
