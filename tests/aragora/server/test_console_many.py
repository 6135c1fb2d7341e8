"""The console of a service that has ten thousand debates: its list, searches and old debates come at once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from aragora.debate.events import Draft, EventType
from aragora.settings import load
from aragora.storage import Store
from aragora.storage.tables import debates, events
from tests.aragora.server.browser import Page
from tests.aragora.server.servers import Server, running
from tests.aragora.storage.debates import END, START, append, message, spec

pytestmark = [pytest.mark.component("chromium"), pytest.mark.long, pytest.mark.alone]

COUNT = 10_000
MOST_SECONDS = 5.0  # for each thing a reader does, on a machine that does other work; docs/benchmarks has figures
ANSWER = "Keep the tables, add an outbox, and measure what a replay of the ledger costs before anything else. " * 30
SEARCHES = {
    "of the newest": "debate 99",
    "of one": "debate 4711",
    "of an answer": "Kassettenrekorder",
    "of none": "zeppelin",
}


NUMBERS = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {COUNT - 1})"
ID = "printf('adhoc_%026x', n)"
TITLE = "'Should debate ' || n || ' be the one?'"
RARE = f"|| CASE n WHEN {COUNT // 2} THEN ' Kassettenrekorder' ELSE '' END"
CHANGED = {
    "debates": {
        "id": ID,
        "title": TITLE,
        "search": f"lower({TITLE})",
        "created_at": "created_at + n",
        "final_answer": f"final_answer {RARE}",
        "answer_search": f"answer_search || lower(''{RARE})",
    },
    "events": {"debate_id": ID},
}


def fill(directory: Path) -> None:
    """Store one debate as the service does, and copies of it with titles of their own."""
    store = Store.open(load({"ARAGORA_DATA_DIR": str(directory)}))
    consensus = Draft(EventType.CONSENSUS, 1, None, {"reached": True, "answer": ANSWER, "choice": "demo-1"})
    append(store, store.create(spec()), START, message(ANSWER), message(ANSWER, "demo-2"), consensus, END)
    with store.database.writing() as connection:
        for table in (debates, events):
            values = ", ".join(CHANGED[table.name].get(column.name, column.name) for column in table.columns)
            names = ", ".join(column.name for column in table.columns)
            copied = f"{NUMBERS} SELECT {values} FROM numbers, {table.name}"
            connection.execute(sa.text(f"INSERT INTO {table.name} ({names}) {copied}"))
    store.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with all of them."""
    directory = tmp_path_factory.mktemp("many")
    (directory / "data").mkdir()
    fill(directory / "data")
    with running("gunicorn", directory, ARAGORA_WORKLOAD="1") as started:
        yield started


def seconds(page: Page, act: str, seen: str) -> float:
    """How long it takes from `act` until `seen` is true and drawn."""
    page.evaluate(act)
    began = time.monotonic()
    page.wait(seen)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return time.monotonic() - began


def typed(words: str) -> str:
    """Write `words` into the search, as one keystroke."""
    return (
        "document.querySelectorAll('#past-list li').forEach((one) => one.remove());"
        f"document.getElementById('search').value = '{words}';"
        "document.getElementById('search').dispatchEvent(new Event('input'))"
    )


def test_ten_thousand_debates_stay_quick(chromium: Page, served: Server) -> None:
    chromium.look(1280, 900)
    took: dict[str, float] = {}
    listed = "document.querySelectorAll('#past-list li').length"
    took["the page with its list"] = seconds(chromium, f"location = '{served.base}/'", f"{listed} === 20")
    more = "document.getElementById('past-more').click()"
    took["twenty more"] = seconds(chromium, more, f"{listed} === 40")
    for name, words in SEARCHES.items():
        seen = "!document.getElementById('past-empty').hidden" if name == "of none" else f"{listed} > 0"
        took[f"a search {name}"] = seconds(chromium, typed(words), seen)
    took["the list again"] = seconds(chromium, typed(""), f"{listed} === 20")
    opened = "!document.getElementById('result').hidden && document.querySelectorAll('.agent .said').length > 1"
    took["an old debate"] = seconds(chromium, f"location.hash = '#/d/adhoc_{9:026x}'", opened)
    print({name: f"{found:.2f} s" for name, found in took.items()})
    assert max(took.values()) < MOST_SECONDS, took
