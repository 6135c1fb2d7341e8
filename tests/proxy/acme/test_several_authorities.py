"""Several authorities in turn: what one does not issue, the next does."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.acme.state import State
from tests.proxy.acme.pebble import Pebble, Refusal, pebble, refusing
from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway
from tests.proxy.tls_gateway import serve_tls
from tests.waiting import until

REFUSED, ISSUED = "refused.test", "issued.test"
real = pytest.mark.component("pebble")


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """It issues for one name and refuses the order for the other."""
    settings = {"domainBlocklist": [REFUSED]}
    folder = tmp_path_factory.mktemp("pebble")
    with pebble(authority, folder, settings, PEBBLE_VA_ALWAYS_VALID="1") as running:
        yield running


@contextlib.contextmanager
def gateway(tmp_path: Path, first: str, *more: Pebble | str) -> Iterator[Gateway]:
    """One that tries these authorities in turn."""
    file = tmp_path / "servers.toml"
    tables = [
        f'[[acme_server]]\ndirectory = "{one}"\n'
        if isinstance(one, str)
        else f'[[acme_server]]\ndirectory = "{one.directory}"\nca = "{one.ca}"\n'
        for one in more
    ]
    file.write_text("".join(tables))
    flags = ("--acme", "a@site.test", "--domain", REFUSED, "--domain", ISSUED, "--acme-directory", first)
    more_flags = ("--state-dir", str(tmp_path / "state"), "--config", str(file))
    with contextlib.closing(serve_tls(tmp_path / "gateway", "127.0.0.1:9", *flags, *more_flags)) as running:
        yield running


@real
def test_what_one_refuses_the_next_is_asked_for(server: Pebble, tmp_path: Path) -> None:
    with refusing(Refusal("/account", 503, "serverInternal")) as first, refusing(Refusal("/order", 429, "x")) as last:
        with gateway(tmp_path, first, server, last) as running:
            until(lambda: f"obtained a certificate for {ISSUED}" in running.log, "the certificate")
            until(lambda: running.log.count(f"no certificate for {REFUSED}") == 3, "all have refused")
            assert running.log.count(f"no certificate for {ISSUED}") == 1
            assert "rejectedIdentifier" in running.log
            until(lambda: ISSUED in running.admin_text("/metrics"), "it is served")
        states = [State(tmp_path / "state", one) for one in (first, server.directory, last)]
    now = time.time()
    assert [state.failures(REFUSED).forbid(now) for state in states] == [True, True, True]
    assert [state.failures(ISSUED).forbid(now) for state in states] == [True, False, False]
    assert [state.pair(ISSUED) is not None for state in states] == [False, True, False]
