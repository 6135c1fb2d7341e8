"""One gateway before one scripted upstream for all cases; others where a test wants its own."""

from collections.abc import Iterator

import pytest

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.scripted import ScriptedUpstream

BODY_LIMIT = 1_000_000


@pytest.fixture(scope="session")
def gateway(scripted: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One worker, small bodies, short patience."""
    running = serve(
        tmp_path_factory.mktemp("gateway"), scripted.address, "--max-body", str(BODY_LIMIT), "--linger-timeout", "1",
        "--retry-wait", "1", "--read-timeout", "20", "--upstream-keepalive", "60",
    )  # fmt: skip
    yield running
    running.close()
    assert "failed inside the gateway" not in running.log, running.log
