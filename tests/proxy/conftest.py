"""What tests of whole gateways share: gateways of their own, upstreams, and one authority, whose keys take a while."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.scripted import Manual, ScriptedUpstream
from tests.proxy.net.tls_client import HOST


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
    """An upstream that the test plays by hand; closed with everything it accepted."""
    upstream = Manual()
    yield upstream
    for sock in upstream.kept:
        sock.close()


@pytest.fixture(scope="session")
def scripted() -> Iterator[ScriptedUpstream]:
    """An upstream whose responses tests write beforehand."""
    upstream = ScriptedUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def issued(authority: Authority) -> tuple[Path, Path]:
    """The files of a certificate for `HOST` and of its key."""
    return authority.issue(HOST)


@pytest.fixture(scope="session", params=[ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
def contexts(
    request: pytest.FixtureRequest, authority: Authority, issued: tuple[Path, Path]
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context, for each version of the protocol."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*issued)
    client = authority.trust()
    client.maximum_version = request.param
    client.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # which Debian's Python sets: an end without close_notify is one
    return server, client
