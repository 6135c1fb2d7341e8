"""Documents that debates are given: what is read of them, for whom, and how they share the context."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aragora.errors import Forbidden, ValidationFailed
from aragora.outbound import Outbound, networks
from aragora.service import Debates, NewDebate, Sources
from aragora.service.principal import EVERYBODY, STRANGER
from aragora.service.sources import Source, quoted
from aragora.settings import load
from aragora.storage import ChangeFeed, Store
from tests.aragora.documents.test_reading import pdf, shown
from tests.aragora.outbound.test_request import Page, Web, web

PAGES = {
    "/plan.md": ("text/markdown", b"# Plan\n\nMeasure first."),
    "/page?key=secret": ("text/html", b"<h1>Costs</h1><script>x</script><p>Four people."),
    "/file.pdf": ("application/pdf", pdf(shown(b"From a file."))),
    "/long": ("text/plain", b"word " * 50_000),
    "/image": ("image/png", b"\x89PNG"),
}


def serve(page: Page) -> None:
    found = PAGES.get(page.path)
    if found is None:
        page.send(b"no", 404)
    else:
        page.send(found[1], Content_Type=found[0])


@pytest.fixture
def site() -> Iterator[Web]:
    with web(serve) as server:
        yield server


@pytest.fixture
def sources() -> Sources:
    return Sources(Outbound(networks(["127.0.0.1"])), fetches=True, limit=1 << 20)


@pytest.fixture
def debates(tmp_path: Path, sources: Sources) -> Iterator[Debates]:
    settings = load({"ARAGORA_DATA_DIR": str(tmp_path)})
    store = Store.open(settings)
    yield Debates(store, ChangeFeed(store, settings), {}, sources=sources)
    store.close()


def context(debates: Debates, site: Web, *paths: str, own: str = "") -> str:
    body = {
        "question": "Should we adopt event sourcing?",
        "context": own,
        "sources": [site.url + path for path in paths],
    }
    return debates.create(NewDebate.parse(body)).spec.context


def test_a_debate_is_told_what_stands_in_its_sources(debates: Debates, site: Web) -> None:
    found = context(debates, site, "/plan.md", "/page?key=secret", "/file.pdf", own="Ours.")
    host = f"127.0.0.1:{site.port}"
    assert found == (
        f"Ours.\n\nSource: {host}/plan.md\n\n# Plan\n\nMeasure first.\n\n"
        f"Source: {host}/page\n\n# Costs\n\nFour people.\n\nSource: {host}/file.pdf\n\nFrom a file."
    )


def test_sources_share_the_room_and_say_what_was_cut(debates: Debates, site: Web) -> None:
    found = context(debates, site, "/long", "/plan.md", "/long", own="x" * 1000)
    assert 99_000 < len(found) <= 100_000
    assert found.count("[cut: the beginning of 249,999 characters]") == 2
    assert "Measure first." in found


def test_no_room_is_no_failure(debates: Debates, site: Web) -> None:
    assert len(context(debates, site, "/long", own="x" * 100_000)) <= 100_002
    assert quoted(Source("a", "text/plain", "text", 4), 6) == "Source"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("{site}/nothing", "sources.0: .*: it answers 404"),
        ("{site}/image", "sources.0: .*: image/png is not read"),
        ("http://10.0.0.1/", "sources.0: .*: it leads to an address that is not public"),
        ("file:///etc/passwd", "sources.0: .*: write http:// or https://"),
    ],
)
def test_what_cannot_be_read_is_named(debates: Debates, site: Web, url: str, words: str) -> None:
    body = {"question": "Should we adopt event sourcing?", "sources": [url.format(site=site.url)]}
    for use in (debates.create, debates.estimate):
        with pytest.raises(ValidationFailed, match=words):
            use(NewDebate.parse(body))
    assert debates.page().debates == ()


def test_what_an_address_hides_is_not_told_on(debates: Debates, site: Web) -> None:
    body = {"question": "Should we adopt event sourcing?", "sources": [f"{site.url}/none?key=secret"]}
    with pytest.raises(ValidationFailed) as refused:
        debates.create(NewDebate.parse(body))
    assert "secret" not in str(refused.value)


def test_pages_are_fetched_for_creators_where_allowed(sources: Sources, site: Web) -> None:
    uses: list[Callable[[], object]] = [
        lambda: sources.fetch(STRANGER, site.url),
        lambda: sources.read(STRANGER, "x", "text/plain", b"x"),
        lambda: Sources(Outbound(), fetches=False, limit=9).fetch(EVERYBODY, site.url),
    ]
    for use in uses:
        with pytest.raises(Forbidden):
            use()
    assert site.asked == []
