"""The console in a real browser, through the gateway: ask, watch, come back, search, and let nothing foreign run."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aragora.server.browser import FORM, Page
from tests.aragora.server.conftest import TOKENS
from tests.aragora.server.servers import QUESTION, Server, running
from tests.deployment.processes import gateway

pytestmark = pytest.mark.component("chromium")

HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\'"--; DROP TABLE debates'
CONTROL = 2
STATUS = "document.getElementById('status').textContent"
# The page says so of a record that it fetched, too; it follows a debate until it has shown the last event.
COMPLETED = f"{STATUS} === 'completed' && document.getElementById('link-state').dataset.state === 'idle'"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers whose debates are taken over soon."""
    with running("gunicorn", tmp_path_factory.mktemp("console"), ARAGORA_LEASE_TTL="1") as started:
        yield started


@pytest.fixture(scope="module")
def front(served: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway's address: what a person's browser talks to."""
    with gateway(tmp_path_factory.mktemp("gateway"), served.port) as (_, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def page(chromium: Page, front: str) -> Page:
    """The console, freshly opened on a desktop."""
    return chromium.desktop(f"{front}/", FORM)


def ask(page: Page, question: str) -> str:
    """Ask with the keyboard alone; the debate's id."""
    page.evaluate("document.getElementById('question').focus()")
    page.type(question)
    page.press("Enter", 13, CONTROL)
    return str(page.wait("/^#\\/d\\/(.+)$/.exec(location.hash)?.[1]"))


def plain(text: str) -> str:
    """The words of a text, without white space and the marks of Markdown."""
    return re.sub(r"[\s*#`|-]|^\d+\.", "", text, flags=re.MULTILINE)


def assert_all_is_said(page: Page, debate: dict[str, Any]) -> None:
    shown = page.evaluate("[...document.querySelectorAll('.agent .said')].map((one) => one.innerText)")
    assert sorted(map(plain, shown)) == sorted(plain(message["content"]) for message in debate["messages"])


def test_a_debate_is_asked_and_watched(page: Page, served: Server) -> None:
    debate_id = ask(page, QUESTION)
    page.wait("document.querySelectorAll('.agent .said').length >= 3")
    page.wait(COMPLETED)
    debate = served.get(f"/api/debates/{debate_id}").json()
    page.wait("!document.getElementById('result').hidden")
    assert plain(page.evaluate("document.getElementById('result-answer').innerText")) == plain(debate["final_answer"])
    assert_all_is_said(page, debate)
    assert page.evaluate("document.querySelectorAll('.vote-row').length") == len(debate["agents"])
    points = len(served.get(f"/api/debates/{debate_id}/convergence").json()["rounds"])
    assert page.evaluate("document.querySelectorAll('#convergence .dot').length") == (points if points > 1 else 0)
    assert page.evaluate("document.querySelectorAll('.critique').length") > 0
    assert page.console == []


def test_hostile_text_stays_text(page: Page, served: Server) -> None:
    debate = served.finished(question=f"Should {HOSTILE} be run?", title=HOSTILE, context=HOSTILE)
    long = served.ask(question="Is " + "unbreakable" * 60 + " good?", rounds=10, early_stop=False)
    with served.greeted() as client:
        client.send(type="user_suggestion", debate_id=long, text=HOSTILE)
        assert client.until("ack")
    page.evaluate(f"location.hash = '#/d/{long}'")
    page.wait("document.querySelector('.note')?.textContent.includes('onerror')")
    served.request("POST", f"/api/debates/{long}/cancel")
    page.wait(f"{STATUS} === 'cancelled'")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(f"location.hash = '#/d/{debate['id']}'")
    page.wait(f"{COMPLETED} && document.querySelectorAll('.agent .said').length > 0")
    assert page.evaluate("document.getElementById('debate-title').textContent") == HOSTILE
    page.wait("document.getElementById('past-list').textContent.includes('onerror')")
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert page.console == []


def test_an_injected_script_would_not_run_either(page: Page) -> None:
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.pwned=1\">');"
        "const s = document.createElement('script'); s.textContent = 'window.pwned=1'; document.body.append(s)"
    )
    page.wait("document.querySelector('body > img').complete")
    assert page.evaluate("typeof window.pwned") == "undefined"


def test_the_page_comes_back_after_its_worker_was_killed(page: Page, served: Server) -> None:
    debate_id = ask(page, "Should the page survive the death of its worker?")
    page.wait("document.querySelectorAll('.agent .said').length >= 3")
    for worker in served.workers():
        os.kill(worker, signal.SIGKILL)
    page.wait(COMPLETED, 60)
    debate = served.get(f"/api/debates/{debate_id}").json()
    assert_all_is_said(page, debate)


def test_past_debates_are_searched_with_the_keyboard(page: Page, served: Server) -> None:
    served.ask(question="Should we paint the shed vermilion?", rounds=1)
    page.evaluate("document.activeElement.blur()")
    page.press("/", 191)
    page.wait("document.activeElement.id === 'search'")
    page.type("vermilion")
    page.wait("document.querySelectorAll('#past-list li').length === 1")
    page.evaluate("document.querySelector('#past-list a').click()")
    page.wait("document.getElementById('debate-title').textContent.includes('vermilion')")


def test_a_wrong_question_is_explained_in_place(page: Page) -> None:
    page.evaluate("document.getElementById('question').focus()")
    page.type("why?")
    page.press("Enter", 13, CONTROL)
    page.wait("document.getElementById('question-problem').textContent.includes('5')")


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone(page: Page, served: Server, dark: bool, tmp_path: Path) -> None:
    page.look(320, 740, dark=dark)
    page.wait(FORM)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.screenshot(tmp_path / "ask.png")
    page.evaluate(f"location.hash = '#/d/{served.debate['id']}'")
    page.wait("document.querySelectorAll('.agent .said').length > 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.screenshot(tmp_path / "debate.png")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) is dark


def test_the_token_is_asked_for_and_kept(chromium: Page, tmp_path: Path) -> None:
    with running("gunicorn", tmp_path, ARAGORA_API_TOKEN=TOKENS, ARAGORA_WORKLOAD="1") as guarded:
        chromium.look(1280, 900)
        chromium.go(f"{guarded.base}/")
        chromium.wait("document.getElementById('token-dialog').open")
        chromium.evaluate("document.getElementById('token').focus()")
        chromium.type("second-token")
        chromium.press("Enter", 13)
        chromium.evaluate("document.getElementById('token-form').requestSubmit()")
        chromium.wait(FORM)
        ask(chromium, QUESTION)
        chromium.wait(COMPLETED)
        assert chromium.evaluate("document.querySelectorAll('.agent .said').length") > 0
        chromium.go(f"{guarded.base}/api/docs")
        chromium.wait("document.getElementById('token-state').textContent.includes('with the token')")
        chromium.evaluate("document.querySelector('#listDebates form').requestSubmit()")
        chromium.wait("document.querySelector('#listDebates .trial-result p')?.textContent.startsWith('200')")
        assert QUESTION in chromium.evaluate("document.querySelector('#listDebates .trial-result pre').textContent")
