"""One gateway that takes HTTP/2 without TLS, before one scripted upstream."""

import ssl
from collections.abc import Callable, Iterator

import pytest

from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.scripted import ScriptedUpstream

BODY_LIMIT = 1_000_000


@pytest.fixture(scope="session")
def origin() -> Iterator[ScriptedUpstream]:
    """The upstream behind `gateway`."""
    upstream = ScriptedUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def gateway(origin: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One worker, small bodies, short patience."""
    running = serve(
        tmp_path_factory.mktemp("gateway"), origin.address, "--h2c", "on", "--max-body", str(BODY_LIMIT),
        "--retry-wait", "1", "--read-timeout", "20", "--body-memory", "65536", "--max-streams", "20",
        "--linger-timeout", "1",
    )  # fmt: skip
    yield running
    running.close()
    assert "failed inside the gateway" not in running.log, running.log
    assert "Traceback" not in running.log, running.log


@pytest.fixture(scope="session")
def impatient(origin: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One that waits for nobody longer than a second."""
    running = serve(
        tmp_path_factory.mktemp("impatient"), origin.address, "--h2c", "on", "--keepalive-timeout", "1s",
        "--head-timeout", "1s", "--body-timeout", "1s", "--write-timeout", "1s",
    )  # fmt: skip
    yield running
    running.close()
    assert "Traceback" not in running.log, running.log


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    """That of a client which speaks nothing but HTTP/2."""
    context = authority.trust()
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture
def start(start: Callable[..., Gateway]) -> Callable[..., Gateway]:
    """As for all, with HTTP/2 that needs no TLS."""
    return lambda upstream, *flags: start(upstream, "--h2c", "on", *flags)
