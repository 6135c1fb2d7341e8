"""What models write, in the console: Markdown is laid out, every script reads in its direction, and nothing runs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aragora.server import council
from tests.aragora.server.browser import Page
from tests.aragora.server.servers import Server, running

pytestmark = pytest.mark.component("chromium")

QUESTION = "Should we adopt event sourcing for billing?"
DRAWN = (
    "import('/console/markdown.js').then(({{show}}) => {{"
    "const one = document.createElement('div'); document.querySelector('main').append(one);"
    "for (const text of {texts}) {{ const each = document.createElement('div'); one.append(each); show(each, text); }}"
    "const found = [...one.querySelectorAll('*')].map((each) => each.tagName.toLowerCase());"
    "const links = [...one.querySelectorAll('a')].map((each) => each.protocol);"
    "one.remove(); return {{tags: [...new Set(found)], links: [...new Set(links)]}} }})"
)


@pytest.fixture(scope="module")
def models() -> Iterator[council.Provider]:
    """Models that answer by their names."""
    with council.provider() as started:
        yield started


@pytest.fixture(scope="module")
def served(models: council.Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that asks those models."""
    environ = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": models.base}
    with running("gunicorn", tmp_path_factory.mktemp("words"), ARAGORA_WORKLOAD="1", **environ) as started:
        yield started


@pytest.fixture
def page(chromium: Page, served: Server) -> Page:
    """The console on a desktop."""
    return chromium.desktop(f"{served.base}/")


def debated(served: Server, *models: str, **more: Any) -> dict[str, Any]:
    """A debate of these models that has ended."""
    agents = [{"type": "openai", "model": model, "name": f"{model}-{place}"} for place, model in enumerate(models)]
    return served.finished(question=QUESTION, agents=agents, **more)


def opened(page: Page, debate: dict[str, Any]) -> None:
    """Show that debate, to its end."""
    page.evaluate(f"location.hash = '#/d/{debate['id']}'")
    page.wait("!document.getElementById('debate').hidden && document.querySelectorAll('.agent .said').length > 1")
    page.wait("document.getElementById('link-state').dataset.state === 'idle'")


def test_markdown_is_laid_out(page: Page, served: Server) -> None:
    opened(page, debated(served, "markdown", "markdown"))
    said = "document.querySelector('.agent .said')"
    for element in ("strong", "em", "h4", "ol > li > ul > li", ".table table td code", "figure.code pre", "blockquote"):
        assert page.evaluate(f"{said}.querySelector('{element}') !== null"), element
    assert page.evaluate(f"{said}.querySelector('a').href") == "https://example.com/outbox"
    assert page.evaluate(f"{said}.querySelector('a').rel").startswith("noopener noreferrer")
    assert "bigserial PRIMARY KEY\n);" in page.evaluate(f"{said}.querySelector('pre').textContent")
    assert "$n = 10^6$" in page.evaluate(f"{said}.textContent")
    assert page.evaluate("document.querySelector('.critique code') !== null")
    page.look(320, 740)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.console == []


def test_code_is_copied(page: Page, served: Server) -> None:
    opened(page, debated(served, "markdown", "markdown"))
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.evaluate("document.querySelector('.agent figure.code button').click()")
    page.wait("document.querySelector('.agent figure.code button').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()").startswith("CREATE TABLE outbox (\n")


def test_every_script_reads_in_its_direction(page: Page, served: Server) -> None:
    opened(page, debated(served, "arabic", "chinese"))
    direction = "getComputedStyle(document.querySelector('.agent-{} .said > {}')).direction"
    assert page.evaluate(direction.format(0, "p")) == "rtl"
    assert page.evaluate(direction.format(0, "ol")) == "rtl"
    assert page.evaluate(direction.format(1, "p")) == "ltr"
    assert page.evaluate("document.querySelector('.agent-1 .said strong').textContent") == council.CHINESE[2:5]


def test_published_attacks_stay_text(page: Page) -> None:
    payloads = pytest.importorskip("brs_kb.payloads")
    attacks = sorted({entry.payload for entry in payloads.get_all_payloads().values()})
    assert len(attacks) > 4000
    allowed = {"p", "h4", "h5", "h6", "ul", "ol", "li", "a", "em", "strong", "del", "code", "pre", "br", "hr", "span"}
    allowed |= {"blockquote", "figure", "figcaption", "button", "div", "table", "thead", "tbody", "tr", "th", "td"}
    for start in range(0, len(attacks), 500):
        drawn = page.evaluate(DRAWN.format(texts=json.dumps(attacks[start : start + 500])))
        assert set(drawn["tags"]) <= allowed
        assert set(drawn["links"]) <= {"http:", "https:"}
    assert page.evaluate("document.querySelectorAll('main img, main iframe, main svg').length") == 0
    assert page.console == []


def text(page: Page, selector: str) -> str:
    """What stands there."""
    return str(page.evaluate(f"document.querySelector('{selector}').innerText"))


def test_the_verdict_says_whose_why_and_what_lacks(page: Page, served: Server) -> None:
    debate = debated(served, "markdown", "arabic", "broken")
    opened(page, debate)
    verdict = debate["verdict"]
    assert verdict["choice"] in text(page, "#result-whose")
    assert f"{verdict['support']['votes']} of {verdict['support']['of']} vote" in text(page, "#result-whose")
    assert "2 of 3 agents took part in full." in text(page, "#result-remarks")
    assert "this model is out of order" in text(page, "#result-remarks")
    assert page.evaluate("document.querySelectorAll('.voices li').length") == len(debate["agents"]) - 1
    assert "names a figure" in text(page, ".voices")
    assert "confidence" in page.evaluate("document.querySelector('#result-ring svg').getAttribute('aria-label')")
    assert page.evaluate("!document.getElementById('again').hidden")
    assert "this model is out of order" in text(page, ".agent-2 .failures")
    assert page.console == []


def test_a_failed_debate_says_why_and_asks_again(page: Page, served: Server) -> None:
    debate = served.request(
        "POST",
        "/api/debates?wait=50",
        json={"question": QUESTION, "agents": [{"type": "openai", "model": "broken"}] * 2},
    ).json()
    page.evaluate(f"location.hash = '#/d/{debate['id']}'")
    page.wait("!document.getElementById('result').hidden")
    assert text(page, "#result-title") == "No answer"
    assert "this model is out of order" in text(page, "#result-whose")
    page.evaluate("document.getElementById('again').click()")
    page.wait(f"location.hash !== '#/d/{debate['id']}' && !document.getElementById('debate').hidden")


def test_a_reader_elsewhere_learns_that_it_is_decided(page: Page, served: Server, models: council.Provider) -> None:
    page.look(1280, 500)
    models.released.clear()
    agents = [{"type": "openai", "model": "stuck"}, {"type": "openai", "model": "long"}]
    debate_id = served.ask(question=QUESTION, agents=agents, rounds=1)
    page.evaluate(f"location.hash = '#/d/{debate_id}'")
    page.wait("document.querySelectorAll('.agent-1 .said > *').length > 20")
    assert page.evaluate("document.title").startswith("…")
    page.wait("/\\d+ s/.test(document.querySelector('.agent-0 .clock').textContent)")
    models.released.set()
    page.wait("!document.getElementById('decided').hidden")
    assert text(page, "#decided").startswith("Decided: ")
    assert page.evaluate("document.title").startswith("✓")
    assert page.evaluate("document.getElementById('announce').textContent").startswith("Decided: ")
    page.evaluate("document.getElementById('decided').click()")
    page.wait("document.getElementById('decided').hidden && document.activeElement.id === 'result'")
