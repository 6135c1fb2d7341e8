"""Certificates on demand, and what follows containers, on the status page in a real browser."""

import os
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.acme.state import Failures, State
from proxy.net.certificates import self_signed
from tests.aragora.server.browser import Page, browser, violations
from tests.proxy.acme.asked import asked
from tests.proxy.acme.pebble import Refusal, refusing
from tests.proxy.admin.conftest import AdminGateway
from tests.proxy.admin.test_page import opened, text
from tests.proxy.authority import Authority
from tests.proxy.tls_gateway import connect
from tests.waiting import until

pytestmark = pytest.mark.component("chromium")
WATCHED = {"daemon": "unix:///run/podman/podman.sock", "since": 1.0, "containers": 2}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def keep(state: State, name: str, days: int) -> None:
    """A certificate that was obtained on demand."""
    pair = self_signed((name,), days)
    state.certificate(name).write_bytes(pair.key + pair.chain)
    state.demand(name).write_bytes(b"")


def refused(gateway: AdminGateway, name: str) -> None:
    with pytest.raises(ssl.SSLError):
        connect(gateway, ssl.create_default_context(), name)


@pytest.mark.component("pages")
def test_names_on_demand_are_shown_with_what_is_wrong(
    chromium: Page, face: Callable[..., AdminGateway], tmp_path: Path, authority: Authority
) -> None:
    problem = Refusal("/account", 403, "unauthorized")
    with refusing(problem) as directory, asked("failing.shop.test", *(f"{n}.shop.test" for n in range(30))) as service:
        state = State(tmp_path / "state", directory)
        state.make()
        for number in range(30):
            keep(state, f"{number}.shop.test", 89 - number)
        keep(state, "late.shop.test", 5)
        late = authority.issue("late.shop.test", begins=timedelta(days=-85), ends=timedelta(days=5))
        state.certificate("late.shop.test").write_bytes(b"".join(file.read_bytes() for file in late))
        keep(state, "short.shop.test", 6)
        state.note_failures("late.shop.test", Failures(3, time.time() + 3600, time.time(), "connection: refused"))
        gateway = face(
            f'acme = "a@shop.test"\nacme_directory = "{directory}"\nstate_dir = "{tmp_path}/state"\n'
            f'on_demand_ask = "{service.url}"\nrespond = "hello"\n'
        )
        refused(gateway, "stranger.test")
        refused(gateway, "failing.shop.test")
        refused(gateway, "shop")
        told = lambda: gateway.status()["on_demand"]  # noqa: E731
        until(lambda: told()["names"] == 32, "the names are counted")
        until(lambda: len(told()["refused"]) == 3, "those refused are told")
        until(lambda: len(told()["certificates"]) == 20, "the names are told")
        first, short, second = told()["certificates"][:3]
        assert (first["name"], first["days"], first["fault"]) == ("late.shop.test", 4, "connection: refused")
        assert (short["name"], short["days"], short["fault"]) == ("short.shop.test", 5, "")
        assert (second["name"], second["fault"]) == ("29.shop.test", "")
        reasons = {row["name"]: (row["outcome"], row["reason"]) for row in told()["refused"]}
        assert reasons["stranger.test"] == ("denied", "")
        assert reasons["shop"] == ("name", "")
        outcome, reason = reasons["failing.shop.test"]
        assert outcome == "failed"
        assert "unauthorized" in reason

        page = opened(chromium, gateway)
        page.wait("document.querySelectorAll('#demanded li').length === 12")
        assert text(page, "demanded-hint") == "the 12 of 32 that expire first"
        kinds = page.evaluate("[...document.querySelectorAll('#demanded li')].map((one) => one.dataset.kind)")
        assert kinds == ["upstream", *["fine"] * 11], "most of a short lifetime is left"
        assert "connection: refused" in page.evaluate("document.querySelector('#demanded li').textContent")
        assert text(page, "expiry") == "The certificate late.shop.test expires in 4 days."
        page.wait("document.querySelectorAll('#refused tbody tr').length === 3")
        assert "the service of on_demand_ask said no" in text(page, "refused")
        assert "the CA issued none: " in text(page, "refused")
        looked_at(page, "demanded", "refused")


def test_what_follows_containers_is_told_in_a_line(chromium: Page, face: Callable[..., AdminGateway]) -> None:
    gateway = face('respond = "hello"\n')
    page = opened(chromium, gateway)
    assert page.evaluate("document.getElementById('containers').hidden")
    told = {
        **WATCHED,
        "since": time.time() - 300,
        "connected": True,
        "fault": "",
        "faults": ["container shop: no port"],
    }
    assert gateway.post("containers", told)[0] == 200
    page.wait("!document.getElementById('containers').hidden")
    line = text(page, "containers")
    assert line.startswith(
        "Containers of unix:///run/podman/podman.sock: followed for 5 min, 2 containers with labels, "
    )
    assert line.endswith("0 services; container shop: no port")
    away = {**told, "connected": False, "fault": "Connection refused", "faults": []}
    assert gateway.post("containers", away)[0] == 200
    page.wait("document.getElementById('containers').dataset.kind === 'bad'")
    assert text(page, "containers").endswith("services stay as they are; Connection refused")
    looked_at(page, "containers")


def looked_at(page: Page, *parts: str) -> None:
    for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
        page.look(width, 900, dark=dark, still=True)
        page.wait("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page) == [], f"{width}, dark: {dark}"
        for part in parts if (folder := os.environ.get("ARAGORA_SCREENSHOTS")) else ():
            page.evaluate(f"document.getElementById('{part}').scrollIntoView({{block: 'center'}})")
            page.screenshot(Path(str(folder), f"{part}-{width}-{'dark' if dark else 'light'}.png"))
    assert page.console == []
