"""A tour of the pages at three widths, in light and in dark: everything fits, breaks no rule of accessibility, and does
not move while it loads.

`ARAGORA_TOUR=docs/tour` keeps the pictures, which the documentation shows.
"""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aragora.server import council
from tests.aragora.server.browser import FORM, Page, browser, lighthouse, violations
from tests.aragora.server.servers import Server, running

pytestmark = pytest.mark.component("chromium")

WIDTHS = {"desktop": (1280, 900), "tablet": (768, 1024), "phone": (390, 844)}
QUALITY = 60  # of the pictures, in percent
MOST_WEIGHT = 150_000  # bytes of the console with a debate, as they are before compression
MOST_SHIFT = 0.05  # cumulative layout shift
READY = {
    "form": FORM,
    "debate": "document.querySelector('#debate:not([hidden]) #result:not([hidden])') !== null"
    " && document.getElementById('link-state').dataset.state === 'idle'",
    "shared": "document.querySelectorAll('article').length > 2",
    "api": "document.querySelectorAll('.operation').length > 15",
    "status": "document.querySelectorAll('#checks tr').length > 0",
    "missing": "document.querySelector('h1') !== null",
}
SHIFTS = """window.shifted = 0; new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shifted += one.value;
}).observe({ type: "layout-shift", buffered: true });"""
# One in nine of the parts of the API's page, which are alike: axe takes its time for each.
FEWER = "document.querySelectorAll('.operation').forEach((one, place) => place % 9 && one.remove())"
DRAWN = "new Promise((done) => requestIdleCallback(() => requestAnimationFrame(() => requestAnimationFrame(done))))"
AGENTS = [
    {"type": "openai", "model": "markdown", "name": "Architect", "role": "a software architect"},
    {"type": "openai", "model": "arabic", "name": "مدقق", "role": "an auditor"},
    {"type": "openai", "model": "broken", "name": "Operator"},
    {"type": "openai", "model": "chinese", "name": "主席", "role": "chairman"},
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service whose models answer in Markdown, in Arabic and in Chinese, or not at all."""
    with council.provider() as models:
        environ = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": models.base}
        with running("gunicorn", tmp_path_factory.mktemp("tour"), ARAGORA_WORKLOAD="1", **environ) as started:
            yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, served: Server, debate: str) -> Iterator[Page]:
    """The console, opened when there is a debate already."""
    with browser(tmp_path_factory.mktemp("chromium")) as started:
        started.go(f"{served.base}/")
        started.wait(FORM)
        yield started


@pytest.fixture(scope="module")
def debate(served: Server) -> str:
    """The id of a debate that has ended."""
    return str(served.finished(question="Should we adopt event sourcing for billing?", agents=AGENTS, rounds=2)["id"])


@pytest.fixture(scope="module")
def places(served: Server, debate: str) -> dict[str, str]:
    """The address of each page."""
    shared = served.request("POST", f"/api/debates/{debate}/share").json()["share"]
    return {
        "form": f"{served.base}/",
        "debate": f"{served.base}/#/d/{debate}",
        "shared": f"{served.base}{shared}",
        "api": f"{served.base}/api/docs",
        "status": f"{served.base}/status",
        "missing": f"{served.base}/nothing",
    }


def visit(page: Page, address: str, ready: str) -> None:
    """Load the page anew, until everything is there."""
    page.go("about:blank")
    page.go(address)
    page.wait(ready)


def picture(page: Page, name: str, directory: Path) -> None:
    """Keep what is visible."""
    taken = page.call("Page.captureScreenshot", format="webp", quality=QUALITY)
    (directory / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))


@pytest.mark.parametrize("place", ["form", "debate"])
def test_every_page_fits_every_screen(page: Page, debate: str, place: str, tmp_path: Path) -> None:
    kept = Path(os.environ.get("ARAGORA_TOUR") or tmp_path)
    kept.mkdir(parents=True, exist_ok=True)
    page.evaluate("location.hash = '#/'" if place == "form" else f"location.hash = '#/d/{debate}'")
    page.wait(
        "!document.getElementById('ask').hidden"
        if place == "form"
        else "!document.getElementById('debate').hidden && document.querySelectorAll('.agent .said').length > 2"
    )
    for device, (width, height) in WIDTHS.items():
        for colours in ("light", "dark"):
            page.look(width, height, dark=colours == "dark")
            page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
            page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            picture(page, f"{place}-{device}-{colours}", kept)
    assert page.console == []


@pytest.mark.component("pages")
@pytest.mark.parametrize("place", READY)
def test_no_page_breaks_a_rule_of_axe(page: Page, places: dict[str, str], place: str) -> None:
    page.call("Page.setBypassCSP", enabled=True)  # a shared page lets not even axe run
    for dark in (False, True):
        page.look(1280, 900, dark=dark, still=True)
        visit(page, places[place], READY[place])
        page.evaluate(FEWER)
        assert violations(page) == [], f"dark: {dark}"
    page.call("Page.setBypassCSP", enabled=False)


@pytest.mark.long
@pytest.mark.component("pages")
@pytest.mark.timeout(900)
def test_every_page_is_perfect_to_lighthouse(page: Page, places: dict[str, str]) -> None:
    found = lighthouse(page, {name: (address, READY[name]) for name, address in places.items()})
    assert len(found) == 2 * len(places)
    for name, scores in found.items():
        assert (scores["accessibility"], scores["best-practices"]) == (1, 1), (name, scores)


@pytest.mark.parametrize("place", sorted(set(READY) - {"shared"}))  # it runs no script, loads nothing, and cannot move
@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_no_page_moves_while_it_loads(page: Page, places: dict[str, str], place: str, device: str) -> None:
    page.look(*WIDTHS[device])
    added = page.call("Page.addScriptToEvaluateOnNewDocument", source=SHIFTS)["identifier"]
    try:
        visit(page, places[place], READY[place])
        page.evaluate(DRAWN)
        assert page.evaluate("window.shifted") < MOST_SHIFT
    finally:
        page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)


def test_the_console_is_light(page: Page, places: dict[str, str]) -> None:
    page.call("Network.enable")
    page.call("Network.setCacheDisabled", cacheDisabled=True)
    visit(page, places["debate"], READY["debate"])
    files = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".filter((one) => !one.name.includes('/api/')).map((one) => [one.name, one.decodedBodySize])"
    )
    assert len(files) > 10
    assert sum(size for _, size in files) <= MOST_WEIGHT, files
