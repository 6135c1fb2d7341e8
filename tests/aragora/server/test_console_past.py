"""Past debates in the console, and a connection that is lost: nothing that was shown or written goes away."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from aragora.debate.events import Draft, EventType
from aragora.settings import load
from aragora.storage import Store
from tests.aragora.server.browser import FORM, Page
from tests.aragora.server.servers import Server, running
from tests.aragora.storage.debates import END, START, append, spec

pytestmark = pytest.mark.component("chromium")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service whose demo agents answer at once."""
    directory = tmp_path_factory.mktemp("past")
    (directory / "data").mkdir()
    store = Store.open(load({"ARAGORA_DATA_DIR": str(directory / "data")}))
    consensus = Draft(EventType.CONSENSUS, 1, None, {"reached": True, "answer": "Paint it.", "choice": "demo-1"})
    for number in range(45):
        append(store, store.create(spec(f"Should item {number} be painted?")), START, consensus, END)
    store.close()
    with running("gunicorn", directory, ARAGORA_WORKLOAD="1", ARAGORA_DEMO_DELAY="0") as started:
        yield started


@pytest.fixture
def page(chromium: Page, served: Server) -> Page:
    """The console on a desktop."""
    return chromium.desktop(f"{served.base}/", FORM)


def opened(page: Page, debate_id: str) -> None:
    """Show that debate."""
    page.evaluate(f"location.hash = '#/d/{debate_id}'")
    page.wait("!document.getElementById('debate').hidden && !document.getElementById('result').hidden")


def choose(page: Page, words: str) -> None:
    """Choose this of the menu of a debate."""
    page.evaluate("document.getElementById('more-menu').open = true")
    page.evaluate(
        f"[...document.querySelectorAll('#more-list button')].find((o) => o.textContent === '{words}').click()"
    )


def test_opening_a_debate_keeps_the_list(page: Page, served: Server) -> None:
    page.go("about:blank")
    page.go(f"{served.base}/")
    page.wait("document.querySelectorAll('#past-list li').length === 20")
    page.evaluate("document.getElementById('past-more').click()")
    page.wait("document.querySelectorAll('#past-list li').length === 40")
    page.evaluate("document.querySelectorAll('#past-list a')[34].click()")
    page.wait(
        "!document.getElementById('result').hidden && document.getElementById('link-state').dataset.state === 'idle'"
    )
    assert page.evaluate("document.querySelectorAll('#past-list li').length") == 40
    assert page.evaluate("document.querySelectorAll('#past-list [aria-current=page]').length") == 1
    assert page.evaluate("document.querySelectorAll('#past-list a')[34].getAttribute('aria-current')") == "page"
    assert page.evaluate("document.activeElement.id") == "debate-title"


def test_debates_of_other_clients_enter_the_open_list(page: Page, served: Server) -> None:
    page.evaluate("document.getElementById('past-more').click()")
    page.wait("document.querySelectorAll('#past-list li').length === 40")
    page.evaluate("document.querySelectorAll('#past-list a')[20].focus()")
    held = page.evaluate("document.activeElement.textContent")
    elsewhere = served.finished(question="Was this asked in another browser?")["id"]
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait(f"document.querySelector('#past-list li').dataset.id === '{elsewhere}'")
    assert page.evaluate("document.querySelectorAll('#past-list li').length") == 41
    assert page.evaluate("document.activeElement.textContent") == held


def test_a_search_marks_what_it_found(page: Page, served: Server) -> None:
    served.finished(question="Should the region service be split?")
    page.evaluate("document.getElementById('search').focus()")
    page.type("servi region")
    page.wait("document.querySelectorAll('#past-list li').length === 1")
    assert page.evaluate("[...document.querySelectorAll('#past-list mark')].map((o) => o.textContent)") == [
        "region",
        "servi",
    ]


def test_a_debate_is_renamed_pinned_and_shared(page: Page, served: Server) -> None:
    debate = served.finished(question="Should we rename things often?")
    opened(page, debate["id"])
    choose(page, "Rename")
    page.evaluate("document.getElementById('rename').value = 'Our names'")
    page.evaluate("document.getElementById('rename-form').requestSubmit()")
    page.wait("document.getElementById('debate-title').textContent === 'Our names'")
    page.wait("document.title.startsWith('Our names')")
    choose(page, "Pin")
    page.wait("document.querySelector('#past-list li .pin') !== null")
    choose(page, "Share")
    page.wait("document.getElementById('share-dialog').open")
    link = page.evaluate("document.getElementById('share-link').value")
    assert "Should we rename things often?" in served.http.get(link, timeout=30).text
    page.evaluate("document.getElementById('share-stop').click()")
    page.wait("!document.getElementById('notice').hidden")
    assert served.http.get(link, timeout=30).status_code == 404
    page.evaluate("document.querySelector('#notice button').click()")
    assert page.evaluate("document.getElementById('notice').hidden")
    choose(page, "Unpin")
    page.wait("document.querySelector('#past-list li .pin') === null")


def test_a_deletion_can_be_taken_back(page: Page, served: Server) -> None:
    kept, gone = (served.finished(question=f"Should number {number} be kept?")["id"] for number in (1, 2))
    opened(page, kept)
    delete = "[...document.querySelectorAll('#more-list button')].find((one) => one.textContent === 'Delete').click()"
    page.evaluate(f"{delete}; document.querySelector('#notice .button').click()")
    page.wait(f"location.hash === '#/d/{kept}' && document.getElementById('notice').hidden")
    opened(page, gone)
    page.evaluate(delete)
    page.wait("location.hash === '#/'")
    page.evaluate("dispatchEvent(new Event('pagehide'))")  # whoever leaves the page does not take it back
    page.wait(f"fetch('/api/debates/{gone}').then((answer) => answer.status === 404)")
    assert served.get(f"/api/debates/{kept}").status_code == 200


def test_a_debate_is_followed_up_and_forked(page: Page, served: Server) -> None:
    debate = served.finished(question="Should we buy a boat together?")
    opened(page, debate["id"])
    page.evaluate("document.getElementById('further').value = 'And who would steer it?'")
    page.evaluate("document.getElementById('follow').requestSubmit()")
    page.wait("document.getElementById('debate-title').textContent === 'And who would steer it?'")
    opened(page, debate["id"])
    choose(page, "Fork")
    page.wait("!document.getElementById('fork-of').hidden")
    assert page.evaluate("document.getElementById('question').value") == debate["task"]
    page.evaluate("document.querySelector('#agent-add button').click()")
    page.evaluate("document.getElementById('ask-form').requestSubmit()")
    made = page.wait("/^#\\/d\\/(.+)$/.exec(location.hash)?.[1]")
    found = served.get(f"/api/debates/{made}").json()
    assert found["parent"] == {"id": debate["id"], "relation": "fork"}
    assert len(found["agents"]) == len(debate["agents"]) + 1


def test_what_is_written_without_a_connection_arrives(chromium: Page, tmp_path: Path) -> None:
    with running("gunicorn", tmp_path, ARAGORA_WORKLOAD="1", ARAGORA_DEMO_DELAY="3", ARAGORA_LEASE_TTL="1") as slow:
        debate_id = slow.ask(rounds=10, early_stop=False)
        chromium.look(1280, 900)
        chromium.go(f"{slow.base}/#/d/{debate_id}")
        chromium.wait("document.getElementById('link-state').dataset.state === 'live'")
        os.kill(slow.process.pid, signal.SIGSTOP)  # so that no worker takes the place of those that are killed
        try:
            for worker in slow.workers():
                os.kill(worker, signal.SIGKILL)
            chromium.wait("!document.getElementById('lost').hidden")
            chromium.evaluate("document.getElementById('suggestion').value = 'Measure first.'")
            chromium.evaluate("document.getElementById('voice').requestSubmit()")
            chromium.wait("document.getElementById('pending').textContent.includes('Measure first.')")
        finally:
            os.kill(slow.process.pid, signal.SIGCONT)
        chromium.wait("document.querySelector('.note.suggestion')?.textContent.includes('Measure first.')")
        assert chromium.evaluate("document.getElementById('pending').children.length") == 0
        assert chromium.evaluate("document.getElementById('lost').hidden")
        assert chromium.evaluate("document.querySelectorAll('.note.suggestion').length") == 1
