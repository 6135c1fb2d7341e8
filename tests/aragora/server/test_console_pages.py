"""The pages around the console: where its links lead, what a person sees who is refused, and the status."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.aragora.server.browser import FORM, Page
from tests.aragora.server.servers import BIN, CHECKOUT, Server, running

pytestmark = pytest.mark.component("chromium", "curl")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service whose demo agents answer at once."""
    with running("gunicorn", tmp_path_factory.mktemp("pages"), ARAGORA_WORKLOAD="1", ARAGORA_DEMO_DELAY="0") as started:
        yield started


@pytest.fixture
def page(chromium: Page, served: Server) -> Page:
    """A desktop's browser, with nothing in it."""
    chromium.look(1280, 900)
    chromium.go("about:blank")
    chromium.console.clear()
    return chromium


def test_the_console_leads_to_what_is_around_it(page: Page, served: Server) -> None:
    page.go(f"{served.base}/")
    page.wait("document.getElementById('version').textContent !== ''")
    assert page.evaluate("document.getElementById('version').textContent") == served.get("/health").json()["version"]
    links = page.evaluate("[...document.querySelectorAll('footer a')].map((one) => one.getAttribute('href'))")
    documentation = re.search(r"Documentation = (\S+)", (CHECKOUT / "setup.cfg").read_text())
    assert documentation is not None
    assert documentation[1] in links
    for link in set(links) - {documentation[1]}:
        found = served.get(link)
        assert (found.status_code, found.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), link
    assert page.console == []


def test_a_lost_person_finds_the_console(page: Page, served: Server) -> None:
    page.go(f"{served.base}/no/such/page")
    page.wait("document.querySelector('h1').textContent === 'There is nothing here'")
    assert page.evaluate("document.title") == "There is nothing here"
    page.look(320, 740)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert [one for one in page.console if "404" not in one] == []
    page.evaluate("document.querySelector('main a.button').click()")
    page.wait(f"location.pathname === '/' && {FORM}")


def test_the_status_page_says_whether_the_service_is_ready(page: Page, served: Server) -> None:
    page.go(f"{served.base}/status")
    page.wait("document.getElementById('verdict').dataset.state === 'good'")
    assert page.evaluate("document.querySelectorAll('#checks tr').length") == len(served.get("/ready").json()["checks"])
    assert page.evaluate("document.getElementById('facts').textContent").startswith(
        f"Version {served.get('/health').json()['version']}"
    )
    page.look(320, 740)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.console == []


def test_the_status_page_shows_a_server_that_is_gone(page: Page, served: Server) -> None:
    page.go(f"{served.base}/status")
    page.wait("document.getElementById('verdict').dataset.state === 'good'")
    page.call("Network.enable")
    lost = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.call("Network.emulateNetworkConditions", **lost)
    page.wait("document.getElementById('verdict').dataset.state === 'bad'")
    page.call("Network.emulateNetworkConditions", **{**lost, "offline": False})
    page.wait("document.getElementById('verdict').dataset.state === 'good'")


def sample(page: Page, operation: str, language: str) -> str:
    """What the API's page shows of an operation in this language."""
    buttons = f"[...document.querySelectorAll('#{operation} .samples .chip-button')]"
    page.evaluate(f"{buttons}.find((one) => one.textContent === '{language}').click()")
    return str(page.evaluate(f"document.querySelector('#{operation} .samples pre').textContent"))


def test_the_api_has_a_page_with_everything_in_its_descriptions(page: Page, served: Server) -> None:
    page.go(f"{served.base}/api/docs")
    page.wait("document.querySelectorAll('.operation').length > 15")
    described = served.get("/api/openapi.json").json()
    names = {
        one["operationId"] for item in described["paths"].values() for one in item.values() if "operationId" in one
    }
    assert names <= set(page.evaluate("[...document.querySelectorAll('section.operation')].map((one) => one.id)"))
    links = page.evaluate(
        "[...document.querySelectorAll('main a[href^=\"#\"], nav a')].map((one) => one.hash.slice(1))"
    )
    assert [link for link in set(links) if not page.evaluate(f"document.getElementById({link!r}) !== null")] == []
    page.evaluate("document.querySelector('a[href=\"#schema-Debate\"]').click()")
    page.wait("document.getElementById('schema-Debate').open")
    page.look(320, 740)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.console == []


def test_samples_run_as_they_are_shown(page: Page, served: Server) -> None:
    page.go(f"{served.base}/api/docs")
    page.wait("document.querySelectorAll('.operation').length > 15")
    commands = {
        "curl": ["sh", "-c"],
        "Python": [sys.executable, "-c"],
        "JavaScript": [str(BIN / "node"), "--input-type=module", "-e"],
    }
    for language, command in commands.items():
        for operation, known in (("createDebate", "debate_id"), ("listAgents", "agents")):
            ran = subprocess.run(
                [*command, sample(page, operation, language)], capture_output=True, text=True, timeout=60, check=False
            )
            assert ran.returncode == 0, ran.stderr
            assert known in json.loads(ran.stdout), language


def test_an_operation_is_tried_in_the_page(page: Page, served: Server) -> None:
    debate = served.finished(question="Should the page of the API be tried?")
    page.go(f"{served.base}/api/docs")
    page.wait("document.querySelectorAll('.operation').length > 15")
    page.evaluate("[...document.querySelectorAll('#changeDebate details')].at(-1).open = true")
    page.wait(f"document.getElementById('changeDebate-debate_id').value === '{debate['id']}'")
    assert debate["id"] in page.evaluate("document.querySelector('#changeDebate .samples pre').textContent")
    page.evaluate("document.getElementById('changeDebate-body').value = JSON.stringify({title: 'Tried'})")
    page.evaluate("document.querySelector('#changeDebate form').requestSubmit()")
    page.wait("document.querySelector('#changeDebate .trial-result p')?.textContent.startsWith('200 OK')")
    assert served.get(f"/api/debates/{debate['id']}").json()["title"] == "Tried"
    page.evaluate("document.getElementById('changeDebate-body').value = '{'")
    page.evaluate("document.querySelector('#changeDebate form').requestSubmit()")
    page.wait("document.querySelector('#changeDebate .trial-result p').textContent.startsWith('400')")
    assert "bad_request" in page.evaluate("document.querySelector('#changeDebate .trial-result pre').textContent")
