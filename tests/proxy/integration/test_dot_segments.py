"""Paths with dot segments: refused, unless their route passes them and nothing else could be meant."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.h2.raw import GET, Raw
from tests.proxy.integration.scripted import ScriptedUpstream

PASSED = (
    "/store/a/../b", "/store/./a", "/store/a/./b?c=../d", "/store/a/b/%2e%2e/c", "/store/a/..", "/store/.hidden/../x",
)  # fmt: skip
REFUSED = (
    "/store/../admin", "/store/../store/a", "/store/a/../../admin", "/store/a/..%2f..%2fadmin", "/store/private/./x",
    "/store/x/../private", "/store/%2e%2e/admin", "/a/../b", "/./a", "/admin/../store/a", "/x/../store/a",
    "/store/a%0a/../b",
)  # fmt: skip


@pytest.fixture(scope="module")
def passing(scripted: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("dots")
    file = directory / "gateway.toml"
    file.write_text(
        f"""
        upstream = "{scripted.address}"
        h2c = true
        [[route]]
        path = "/store"
        upstream = "{scripted.address}"
        dot_segments = "pass"
        [[route]]
        path = "/store/private"
        respond = "nothing"
        respond_status = 403
        """
    )
    running = serve(directory, "", "--config", str(file))
    yield running
    running.close()


def ask(gateway: Gateway, target: str, protocol: str) -> int:
    if protocol == "2":
        with Raw(gateway.port) as raw:
            raw.send(raw.headers(1, [(name, target if name == ":path" else value) for name, value in GET]))
            return int(raw.response(1)[0][":status"])
    form = f"http://example.org{target}" if protocol == "absolute" else target
    with Client(gateway.address) as client:
        client.send(f"GET {form} HTTP/1.1\r\nHost: example.org\r\n\r\n".encode())
        return client.final().status


@pytest.mark.parametrize("protocol", ["1.1", "absolute", "2"])
@pytest.mark.parametrize("target", PASSED)
def test_those_of_a_route_that_wants_them_pass_as_they_are(
    passing: Gateway, gateway: Gateway, scripted: ScriptedUpstream, target: str, protocol: str
) -> None:
    scripted.expect()
    assert ask(passing, target, protocol) == 200
    assert scripted.received[0].data.split(b" ")[1] == target.encode()
    if protocol != "2":
        assert ask(gateway, target, protocol) == 400  # what one gateway found valid is not so in another


@pytest.mark.parametrize("protocol", ["1.1", "absolute", "2"])
@pytest.mark.parametrize("target", REFUSED)
def test_what_could_mean_another_route_is_refused(
    passing: Gateway, scripted: ScriptedUpstream, target: str, protocol: str
) -> None:
    scripted.expect()
    assert ask(passing, target, protocol) == 400
    assert scripted.received == []


def test_a_prefix_is_stripped_from_them(scripted: ScriptedUpstream, tmp_path: Path) -> None:
    flags = ("--dot-segments", "pass")
    file = tmp_path / "gateway.toml"
    file.write_text(f'[[route]]\npath = "/store"\nstrip_prefix = true\nupstream = "{scripted.address}"\n')
    running = serve(tmp_path, "", "--config", str(file), *flags)
    try:
        scripted.expect()
        assert ask(running, "/store/a/../b", "1.1") == 200
        assert scripted.received[0].data.startswith(b"GET /a/../b HTTP/1.1")
        assert ask(running, "/store/../b", "1.1") == 400
    finally:
        running.close()
