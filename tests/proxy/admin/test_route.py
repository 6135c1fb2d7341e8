"""The admin address as a route: logged and counted, with bodies bounded."""

import http.client
import re
from collections.abc import Callable, Iterator

from tests.proxy.admin.conftest import AdminGateway
from tests.proxy.commands.test_control import RESPOND
from tests.waiting import PATIENCE, until

Start = Callable[..., AdminGateway]


def requests_counted(gateway: AdminGateway, method: str, code: str) -> float:
    found = re.search(
        rf'^aragora_proxy_requests_total{{code="{code}",method="{method}"}} (\d+)', gateway.metrics(), re.MULTILINE
    )
    return float(found[1]) if found else 0.0


def command(gateway: AdminGateway, body: bytes | Iterator[bytes], token: str = "") -> tuple[int, str]:
    """Status and text of the response to a command; an iterator is sent as a chunked body."""
    connection = http.client.HTTPConnection(gateway.admin_address, timeout=PATIENCE)
    fields = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    connection.request("POST", "/maintenance", body, fields)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_admin_requests_are_logged_and_counted(face: Start) -> None:
    gateway = face(RESPOND)
    before = requests_counted(gateway, "GET", "2xx")
    until(lambda: requests_counted(gateway, "GET", "2xx") > before, "the reading before is counted")
    refused = requests_counted(gateway, "POST", "4xx")
    assert command(gateway, b"{}")[0] == 401
    until(lambda: requests_counted(gateway, "POST", "4xx") == refused + 1, "it is counted")
    log = gateway.directory / "access.log"
    line = until(
        lambda: next((line for line in log.read_text().splitlines() if '"POST /maintenance' in line), ""), "the log"
    )
    assert re.search(r'"POST /maintenance HTTP/1.1" 401 \d+ "-" "-" \S+ admin -/-/-/', line), line


def test_admin_requests_are_not_among_the_slowest(face: Start) -> None:
    gateway = face(RESPOND)
    gateway.get("/page")
    slowest = until(lambda: gateway.status()["slowest"], "the access log's batch")
    assert [row["target"] for row in slowest] == ["/page"]
    assert not gateway.status()["failing"]


def test_chunked_command_is_carried_out(face: Start) -> None:
    gateway = face(RESPOND)
    token = gateway.run("token").stdout.strip()
    status, text = command(gateway, iter([b'{"on"', b": true}"]), token)
    assert (status, gateway.get()[0]) == (200, 503), text


def test_large_command_is_refused(face: Start) -> None:
    gateway = face(RESPOND)
    status, text = command(gateway, b"x" * (17 << 10))
    assert (status, "body_too_large" in text) == (413, True)
