"""What a running gateway counts by route and by peer, of clients of both protocols."""

import re
import subprocess
from collections.abc import Callable

import pytest

from tests.proxy.admin.applications import Application, unused_address
from tests.proxy.admin.conftest import AdminGateway
from tests.waiting import until

Start = Callable[..., AdminGateway]
Applications = Callable[[str], Application]


def asked(gateway: AdminGateway, protocol: str, *paths: str) -> None:
    """A request for each path."""
    version = "--http1.1" if protocol == "HTTP/1" else "--http2-prior-knowledge"
    for path in paths:
        command = ["curl", "-s", "-m", "30", version, f"{gateway.url}{path}"]
        subprocess.run(command, capture_output=True, timeout=60, check=True)


def counted(gateway: AdminGateway) -> dict[tuple[str, str, str], int]:
    """The requests of each route, peer and status class."""
    found = re.findall(
        r'^aragora_proxy_route_requests_total\{code="(.*)",peer="(.*)",route="(.*)"\} (\d+)\.0$',
        gateway.metrics(),
        re.MULTILINE,
    )
    return {(route, peer, code): int(count) for code, peer, route, count in found if route != "admin"}


@pytest.mark.component("curl")
def test_requests_count_for_their_route_and_peer(face: Start, applications: Applications) -> None:
    one, nobody = applications("one"), unused_address()
    gateway = face(
        f'h2c = true\n[[route]]\nname = "app"\npath = "/"\nupstream = "{one.address}"\n'
        f'[[route]]\nname = "gone"\npath = "/gone"\nupstream = "{nobody}"\n'
        '[[route]]\nname = "text"\npath = "/text"\nrespond = "x"\n'
        '[[route]]\nname = "up"\npath = "/up"\nrespond = "x"\nmetrics = false\n'
        f'[[route]]\nname = "quiet"\npath = "/quiet"\nupstream = "{nobody}"\nmetrics = false\n'
    )
    for protocol in ("HTTP/1", "HTTP/2"):
        asked(gateway, protocol, "/", "/fail", "/fail", "/gone", "/text", "/up", "/quiet")
    wanted = {
        ("app", one.address, "2xx"): 2,
        ("app", one.address, "5xx"): 4,
        ("gone", nobody, "5xx"): 2,
        ("text", "", "2xx"): 2,
    }
    until(lambda: counted(gateway) == wanted, lambda: str(counted(gateway)))
    page = gateway.status()
    assert page["requests"] == 10
    assert page["statuses"] == {"2xx": 4, "5xx": 6}
    assert {row["reason"]: row["count"] for row in page["failures"]} == {"application": 4, "connect_refused": 2}
    routes = {route["name"]: route for route in page["routes"]}
    assert routes["app"]["peers"][0]["traffic"]["requests"] == routes["app"]["traffic"]["requests"] == 6
    assert sum(routes["app"]["traffic"]["durations"]) == 6
    assert routes["quiet"]["traffic"]["requests"] == 0


def test_figures_of_a_route_go_on_after_a_reload(face: Start, applications: Applications) -> None:
    one = applications("one")
    gateway = face(f'upstream = "{one.address}"\n')
    assert gateway.get() == (200, "one")
    gateway.configure(gateway.config.read_text() + '[[route]]\npath = "/new"\nrespond = "x"\n')
    assert gateway.run("reload").returncode == 0
    gateway.get("/new")
    gateway.get()
    wanted = {("default", one.address, "2xx"): 2, ("/new", "", "2xx"): 1}
    until(lambda: counted(gateway) == wanted, lambda: str(counted(gateway)))


def test_a_request_that_is_repeated_counts_for_its_route(face: Start, applications: Applications) -> None:
    one = applications("one")
    gateway = face(f'[[route]]\nname = "app"\nupstream = "{one.address}"\n', workers=2)
    one.drops = 1
    assert gateway.get() == (200, "one")
    until(lambda: gateway.status()["routes"][0]["traffic"]["retries"] == 1, "the retry")
    assert gateway.status()["routes"][0]["peers"][0]["traffic"]["retries"] == 1
