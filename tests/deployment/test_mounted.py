"""Applications of frameworks below a path that they do not know: browsers and WebDAV clients find them there."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.deployment.processes import GUNICORN, Running, accepts, ports
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.h2.raw import GET, Raw
from tests.waiting import until


@pytest.fixture(scope="module", params=["flask", "django"])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp(request.param)
    (application,) = ports(1)
    config = directory / "gateway.toml"
    config.write_text(
        f'h2c = true\n[[route]]\npath = "/shop"\nstrip_prefix = true\nupstream = "127.0.0.1:{application}"\n'
    )
    command = (GUNICORN, f"tests.deployment.mounted:{request.param}()", "--bind", f"127.0.0.1:{application}")
    with ExitStack() as running:
        running.enter_context(Running(*command, log=directory / "application.log"))
        until(partial(accepts, application), "the application listens")
        front = serve(directory / "gateway", "", "--config", str(config))
        running.callback(front.close)
        yield front


def test_redirects_and_cookies_have_the_path(gateway: Gateway) -> None:
    client = Client(gateway.address)
    client.send(b"GET /shop/login HTTP/1.1\r\nHost: app.example\r\n\r\n")
    answer = client.final()
    client.sock.close()
    assert answer.field("Location") == "/shop/home"
    assert answer.field("Set-Cookie") == "session=1; Path=/shop"
    raw = Raw(gateway.port)
    raw.send(raw.headers(1, [(name, "/shop/login" if name == ":path" else value) for name, value in GET]))
    fields, _ = raw.response(1)
    raw.sock.close()
    assert (fields["location"], fields["set-cookie"]) == ("/shop/home", "session=1; Path=/shop")


def test_moves_stay_within_the_application(gateway: Gateway) -> None:
    client = Client(gateway.address)
    for destination, told in ((b"/shop/b", b"/a /b"), (b"http://app.example/shop/b", b"/a http://app.example/b")):
        client.send(b"MOVE /shop/a HTTP/1.1\r\nHost: app.example\r\nDestination: %s\r\n\r\n" % destination)
        assert client.final().body == told
    client.send(b"MOVE /shop/a HTTP/1.1\r\nHost: app.example\r\nDestination: /b\r\n\r\n")
    answer = client.final()
    client.sock.close()
    assert (answer.status, b"destination" in answer.body) == (502, True)
