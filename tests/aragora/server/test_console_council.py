"""The form of the console: agents are chosen in the page, kept as presets, and what they would take is said before."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.aragora.server import council
from tests.aragora.server.browser import FORM, Page
from tests.aragora.server.servers import Server, running

pytestmark = pytest.mark.component("chromium")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with one provider."""
    with council.provider() as models:
        environ = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": models.base}
        with running("gunicorn", tmp_path_factory.mktemp("council"), ARAGORA_WORKLOAD="1", **environ) as started:
            yield started


@pytest.fixture
def page(chromium: Page, served: Server) -> Page:
    """The form."""
    return chromium.desktop(f"{served.base}/", f"{FORM} && document.querySelectorAll('#agent-list li').length === 2")


def press(page: Page, words: str) -> None:
    """Press the button of these words, once it is there."""
    button = f"[...document.querySelectorAll('button')].find((one) => one.textContent === '{words}')"
    page.wait(f"{button} !== undefined")
    page.evaluate(f"{button}.click()")


def fill(page: Page, seat: int, label: str, value: str) -> None:
    """Fill in one field of a seat."""
    page.evaluate(
        f"{{ const seat = document.querySelectorAll('.seat')[{seat}]; seat.querySelector('details').open = true;"
        f"const label = [...seat.querySelectorAll('label')].find((one) => one.textContent.startsWith('{label}'));"
        "const input = label.querySelector('input, select, textarea');"
        f"input.focus(); input.value = '{value}'; input.dispatchEvent(new Event('input', {{bubbles: true}})); }}"
    )


def started(page: Page, served: Server, question: str = "Should we adopt event sourcing?") -> dict[str, Any]:
    """Start the debate; as the service has it."""
    page.evaluate(f"document.getElementById('question').value = '{question}'")
    page.evaluate("document.getElementById('ask-form').requestSubmit()")
    debate_id = page.wait("/^#\\/d\\/(.+)$/.exec(location.hash)?.[1]")
    return dict(served.get(f"/api/debates/{debate_id}").json())


def test_agents_are_chosen_in_the_page(page: Page, served: Server) -> None:
    fill(page, 0, "Model", "markdown")
    fill(page, 0, "Name", "审计员")
    fill(page, 0, "Standpoint", "an auditor")
    fill(page, 0, "Persona", "Careful.")
    fill(page, 0, "Effort", "high")
    page.wait("document.querySelectorAll('#models-0 option').length === 8")
    fill(page, 1, "Model", "arabic")
    press(page, "+ OpenAI")
    fill(page, 2, "Office", "judge")
    assert page.evaluate("document.getElementById('consensus').value") == "judge"
    debate = started(page, served, "要不要買房?")
    assert [(one["name"], one["model"], one["role"]) for one in debate["participants"]] == [
        ("审计员", "markdown", "an auditor"),
        ("openai-1", "arabic", None),
        ("openai-2", None, "judge"),
    ]
    assert (debate["participants"][0]["persona"], debate["participants"][0]["effort"]) == ("Careful.", "high")
    assert page.console == []


def test_models_are_asked_for_again_where_none_came(page: Page) -> None:
    page.evaluate(
        "const fetched = window.fetch; window.asked = 0;"
        "window.fetch = (path, given) => path.startsWith('/api/agents/models') && !window.asked++"
        " ? Promise.reject(new TypeError('lost')) : fetched(path, given)"
    )
    fill(page, 0, "Model", "mark")
    page.wait("window.asked === 1")
    fill(page, 0, "Name", "Ann")
    fill(page, 0, "Model", "markdown")
    page.wait("document.querySelectorAll('#models-0 option').length === 8")


@pytest.mark.parametrize(("name", "offices"), [("Three lenses", 0), ("Red team", 1), ("Two models and a judge", 1)])
def test_presets_seat_a_council(page: Page, served: Server, name: str, offices: int) -> None:
    press(page, name)
    debate = started(page, served)
    assert {one["type"] for one in debate["participants"]} == {"openai"}
    assert sum(one["role"] in ("judge", "chairman") for one in debate["participants"]) == offices
    assert (debate["consensus"] == "judge") is (name == "Two models and a judge")


def test_a_council_is_kept_and_forgotten(page: Page, served: Server) -> None:
    fill(page, 0, "Name", "Ann")
    page.evaluate("document.getElementById('rounds').value = 2; document.getElementById('preset-name').value = 'ours'")
    page.evaluate("document.getElementById('preset-save').click()")
    page.wait("document.querySelector('#presets .chip-pair') !== null")
    kept = served.get("/api/presets/ours").json()["body"]
    assert (kept["agents"][0]["name"], kept["rounds"]) == ("Ann", 2)
    press(page, "Three lenses")
    press(page, "ours")
    page.wait("document.querySelector('.seat strong').textContent === 'Ann'")
    page.evaluate("document.querySelector('#presets .chip-remove').click()")
    page.wait("document.querySelector('#presets .chip-pair') === null")
    assert served.get("/api/presets/ours").status_code == 404


def test_what_it_takes_is_said_before(page: Page) -> None:
    page.wait("document.getElementById('estimate').textContent.includes('at most')")
    before = page.evaluate("document.getElementById('estimate').textContent")
    press(page, "+ OpenAI")
    page.wait(f"document.getElementById('estimate').textContent !== '{before}'")
    press(page, "Three lenses")
    assert page.evaluate("document.querySelectorAll('.seat').length") == 3


def test_what_other_models_need_is_said_in_full(page: Page) -> None:
    page.evaluate("document.getElementById('agent-more').open = true")
    assert "ANTHROPIC_API_KEY" in page.evaluate("document.getElementById('agent-missing').innerText")
    page.evaluate("document.querySelector('#examples button').click()")
    assert "event sourcing" in page.evaluate("document.getElementById('question').value")
    for _ in range(12):
        page.evaluate("document.querySelector('#agent-add button').click()")
    assert page.evaluate("document.querySelectorAll('.seat').length") == 10
    page.evaluate("for (const one of document.querySelectorAll('.seat > button')) one.click()")
    page.evaluate("for (let left = 9; left > 0; left -= 1) document.querySelector('.seat > button')?.click()")
    assert page.evaluate("document.getElementById('ask-button').disabled")


def test_each_model_is_asked_one_word(page: Page) -> None:
    fill(page, 0, "Model", "chinese")
    fill(page, 1, "Model", "broken")
    press(page, "Ask each model one word")
    page.wait("document.querySelectorAll('#probe-results [data-state]').length === 2")
    shown = page.evaluate("[...document.querySelectorAll('#probe-results li')].map((one) => one.textContent)")
    assert shown[0].startswith("openai · chinese answers, in ")
    assert shown[1].startswith("openai · broken ")
    assert "out of order" in shown[1]
    assert page.evaluate("document.querySelector('#probe-results li:last-child').dataset.state") == "bad"
    assert not page.evaluate("document.getElementById('probe').disabled")
    assert page.console == []
