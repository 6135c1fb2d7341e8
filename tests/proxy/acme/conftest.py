"""The authority of tests that need no other one."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.proxy.acme.pebble import Pebble, pebble
from tests.proxy.authority import Authority


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """It validates every name at its ports of this machine, where a name server sends it."""
    pytest.importorskip("dns.message", reason="dnspython is not installed; pip install 'aragora-gateway[dns]'")
    from tests.proxy.acme.zone import zone

    folder = tmp_path_factory.mktemp("pebble")
    with contextlib.ExitStack() as opened:
        names = opened.enter_context(zone("shop.test", folder / "records"))
        yield opened.enter_context(pebble(authority, folder, name_server=f"127.0.0.1:{names.port}"))
