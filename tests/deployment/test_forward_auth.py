"""The guide to services that decide who may pass: each recipe before a stand-in of its service, asked as it says."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from tests.deployment import authorizing
from tests.deployment.pages import Block, blocks, moved
from tests.deployment.processes import CHECKOUT
from tests.proxy.filters.origin import origin
from tests.proxy.gateway import Gateway, serve

GUIDE = CHECKOUT / "docs" / "howto" / "forward-auth.md"
COMMAND = re.compile(r"(?P<command>curl .*?)  +# (?P<printed>.*)")
SERVICES = {
    "oauth2-proxy": (authorizing.oauth2_proxy, 4180),
    "Authelia": (authorizing.authelia, 9091),
    "authentik": (authorizing.authentik, 9000),
}


def block(service: str, kind: str) -> Block:
    return next(one for one in blocks(GUIDE, kind) if one.section == service)


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Gateway]]:
    """A gateway with each recipe's file."""
    with ExitStack() as running:
        application = running.enter_context(origin())
        started = {}
        for service, (decide, port) in SERVICES.items():
            directory = tmp_path_factory.mktemp(service)
            addresses = {
                f"127.0.0.1:{port}": f"127.0.0.1:{running.enter_context(authorizing.service(decide))}",
                "127.0.0.1:8080": f"127.0.0.1:{application}",
            }
            file = directory / "proxy.toml"
            text = moved(block(service, "toml").text, directory, addresses)
            file.write_text(text.replace('"127.0.0.1:8000"', '"127.0.0.1:0"\nh2c = true'))
            started[service] = serve(directory / "gateway", "", "--config", str(file))
            running.callback(started[service].close)
        yield started


@pytest.mark.component("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("service", SERVICES)
def test_recipe_does_what_the_guide_says(gateways: dict[str, Gateway], service: str, version: str) -> None:
    commands = [*COMMAND.finditer(block(service, "sh").text)]
    assert len(commands) >= 3
    for found in commands:
        command = found["command"].replace("http://127.0.0.1:8000", gateways[service].url)
        command = command.replace("curl ", f"curl {version} ", 1)
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20)
        assert done.stdout.strip() == found["printed"].strip(), command


@pytest.mark.parametrize(
    ("service", "cookie", "field", "renewed"),
    [
        ("oauth2-proxy", "_oauth2_proxy", "x-auth-request-user", {"_oauth2_proxy_0", "_oauth2_proxy_1"}),
        ("Authelia", "authelia_session", "remote-user", set()),
        ("authentik", "authentik_proxy_app", "x-authentik-username", {"authentik_proxy_app"}),
    ],
)
def test_application_gets_the_user_and_client_its_cookies(
    gateways: dict[str, Gateway], service: str, cookie: str, field: str, renewed: set[str]
) -> None:
    forged = {"Cookie": f"{cookie}=session", field: "root"}
    with requests.Session() as browser:
        answer = browser.get(gateways[service].url + "/private", headers=forged, timeout=30)
        assert answer.json()["fields"][field] == "ann"
        assert set(browser.cookies.keys()) == renewed
    refused = requests.get(
        gateways[service].url + "/private", headers={field: "root"}, allow_redirects=False, timeout=30
    )
    assert refused.status_code in (302, 401)
    posted = requests.post(gateways[service].url + "/private", data="x", headers=forged, timeout=30)
    assert posted.json()["fields"][field] == "ann"
