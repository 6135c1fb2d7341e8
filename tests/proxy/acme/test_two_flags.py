"""Two flags, an address and a name, are enough for HTTPS on the ports that browsers use."""

import contextlib
import sys
from pathlib import Path

import pytest

from tests.proxy.acme.network import AcmeServer, Network
from tests.waiting import until

SITE = "alone.test"


@pytest.mark.component("machine")
@pytest.mark.component("caddy")
def test_a_name_and_an_address_are_enough(tmp_path: Path) -> None:
    with contextlib.closing(Network(SITE, elsewhere="unused.test")) as network:
        server = AcmeServer(network, tmp_path, site_elsewhere=False)
        authority = ["--acme-directory", server.directory, "--acme-ca", str(server.ca)]
        flags = ["--acme", "a@site.test", "--domain", SITE, "--respond", "hello", "--admin", "off"]
        gateway = [sys.executable, "-m", "proxy", *flags, *authority, "--workers", "1"]
        state, log = tmp_path / "state", tmp_path / "gateway.log"
        network.start(gateway, log, STATE_DIRECTORY=str(state))
        until(lambda: network.asks(f"https://{SITE}/", server.ca), "HTTPS at the default port", 40)
        assert not network.asks(f"http://{SITE}:443/", server.ca)
        assert network.asks(f"http://{SITE}/", server.ca), "a redirect"
        assert [file.name for file in state.glob(f"acme/*/{SITE}.pem")] == [f"{SITE}.pem"]
        assert "Traceback" not in log.read_text()
