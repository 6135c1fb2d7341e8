"""A tour of the console at three widths, in light and in dark: everything fits, and nothing is said to the console.

`ARAGORA_TOUR=docs/tour` keeps the pictures, which the documentation shows.
"""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aragora.server import council
from tests.aragora.server.browser import Page, browser
from tests.aragora.server.servers import Server, running

pytestmark = pytest.mark.component("chromium")

WIDTHS = {"desktop": (1280, 900), "tablet": (768, 1024), "phone": (390, 844)}
QUALITY = 60  # of the pictures, in percent
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
def page(tmp_path_factory: pytest.TempPathFactory, served: Server) -> Iterator[Page]:
    """The console."""
    with browser(tmp_path_factory.mktemp("chromium")) as started:
        started.go(f"{served.base}/")
        started.wait("document.querySelectorAll('#agent-list li').length > 0")
        yield started


@pytest.fixture(scope="module")
def debate(served: Server) -> str:
    """The id of a debate that has ended."""
    return str(served.finished(question="Should we adopt event sourcing for billing?", agents=AGENTS, rounds=2)["id"])


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
