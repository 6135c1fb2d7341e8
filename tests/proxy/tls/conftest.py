"""One authority for all tests of this directory: its keys take a while."""

import ssl
from pathlib import Path

import pytest

from tests.proxy.tls.authority import Authority
from tests.proxy.tls.wire import HOST


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def issued(authority: Authority) -> tuple[Path, Path]:
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
