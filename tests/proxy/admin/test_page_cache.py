"""The cache on the status page, in a real browser."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.aragora.server.browser import Page, browser, violations
from tests.proxy.admin.applications import Application
from tests.proxy.admin.conftest import AdminGateway
from tests.proxy.admin.test_page import click, opened, text, told
from tests.waiting import until

pytestmark = pytest.mark.component("chromium")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def choose(page: Page, kind: str, value: str = "") -> None:
    """Ask for the removal of what is meant, and answer the question with yes."""
    by = "document.getElementById('purge-by')"
    page.evaluate(f"{by}.value = '{kind}'; {by}.dispatchEvent(new Event('change'))")
    if value:
        page.evaluate(f"document.getElementById('purge-what').value = '{value}'")
    page.evaluate("document.querySelector('#purge button').click()")
    page.wait("document.getElementById('confirm').open")
    assert "Remove" in text(page, "confirm-title")


@pytest.mark.component("pages")
def test_what_is_stored_is_shown_and_removed(
    chromium: Page,
    face: Callable[..., AdminGateway],
    applications: Callable[[str], Application],
    tmp_path: Path,
) -> None:
    one = applications("one")
    gateway = face(
        f'cache_dir = "{tmp_path}/stored"\ncache_size = "1m"\n[[route]]\nname = "shop"\nupstream = "{one.address}"\n'
        f'cache = true\ncache_ttl = "10m"\n[[route]]\nname = "live"\npath = "/live"\nupstream = "{one.address}"\n'
    )
    for _ in range(5):
        for path in ("/a", "/b", "/live"):
            gateway.get(path)
    page = opened(chromium, gateway)
    page.wait("document.getElementById('stored').textContent.includes('2 responses of 100 k')")
    assert text(page, "cache-hint") == "80 % found since the start"
    assert [text(page, "cached").count(name) for name in ("shop", "live")] == [1, 0]
    assert "8 of 10 requests" in text(page, "cached")
    page.wait("document.querySelector('#cached svg').getAttribute('aria-label').includes('in the last hour')")
    for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
        page.look(width, 900, dark=dark)
        page.wait("document.documentElement.scrollWidth <= innerWidth")
        if (width, dark) in ((1280, False), (390, True)):
            assert violations(page) == []
        if folder := os.environ.get("ARAGORA_SCREENSHOTS"):
            page.evaluate("document.getElementById('cache').scrollIntoView()")
            page.screenshot(Path(folder, f"cache-{width}-{'dark' if dark else 'light'}.png"))
    page.look(1280, 900)
    choose(page, "url", "/a")
    assert "That of /a goes" in text(page, "confirm-text")
    click(page, "Cancel")
    assert gateway.asked("GET", "/status.json")[1]["cache"]["entries"] == 2
    for kind, value, removed in (("url", "/a", 1), ("tag", "none", 0), ("prefix", "/", 1), ("all", "", 0)):
        choose(page, kind, value)
        page.evaluate("document.getElementById('confirm-yes').click()")
        told(page, f"Stored responses removed: {removed}")
    until(lambda: gateway.asked("GET", "/status.json")[1]["cache"]["entries"] == 0, "nothing is stored")
    page.wait("document.getElementById('stored').textContent.includes('0 responses')")
    assert page.console == []
