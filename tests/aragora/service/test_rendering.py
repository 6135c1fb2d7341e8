"""Markdown as HTML: it reads as it was meant, and whatever was written becomes harmless elements only."""

import time
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from brs_kb import payloads
from hypothesis import given, settings
from hypothesis import strategies as st

from aragora.service.rendering import html_of, phrase_of

TAGS = set(
    "a blockquote br code em h3 h4 h5 h6 hr li ol p pre s strong table tbody td th thead tr ul".split()  # noqa: SIM905
)
ATTRIBUTES = {"class", "dir", "href", "rel", "start", "style", "target", "title"}
SIDES = {"text-align:left", "text-align:center", "text-align:right"}


class Elements(HTMLParser):
    """What a browser would make of the HTML; fails for anything but the elements we know."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attrs:
            assert name in ATTRIBUTES
            assert name != "style" or value in SIDES
            if name == "href":
                assert urlsplit(str(value)).scheme in ("http", "https")
                self.links.append(str(value))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def test_published_attacks_stay_text() -> None:
    attacks = {entry.payload for entry in payloads.get_all_payloads().values()}
    assert len(attacks) > 4000
    for attack in attacks:
        Elements(html_of.__wrapped__(attack, 3))
        Elements(phrase_of.__wrapped__(attack))


PIECES = st.sampled_from(
    [
        "`",
        "```\n",
        "[",
        "](http://e.co)",
        "](javascript:x)",
        "]()",
        "![",
        "<b>",
        "\n",
        "> ",
        "- ",
        "|",
        "|-|\n",
        "&#60;",
        "$",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_whatever_is_written_is_harmless(text: str) -> None:
    Elements(html_of.__wrapped__(text, 3))


def test_headings_take_the_levels_below_their_section() -> None:
    assert html_of("## A\n\n#### B\n\n# C", 3).split('"auto">')[0] == "<h4 dir="
    assert [html_of("# A\n\n## B", 4).count(f"</h{level}>") for level in (4, 5)] == [1, 1]
    assert "</h6>" in html_of("# A\n\n###### B", 5)


def test_images_are_links_and_links_hold_no_link() -> None:
    found = Elements(html_of("![a](http://i.co/x.png) [![b](http://j.co/y.png)](http://l.co)", 3))
    assert found.links == ["http://i.co/x.png", "http://l.co"]


@pytest.mark.parametrize("formula", ["$a_1 * b_2 * c$", r"\(x_1 \le y\)", r"\[a * b * c\]", "$$a_1 + a_2$$"])
def test_mathematics_is_left_as_it_was_written(formula: str) -> None:
    assert "".join(Elements(html_of(f"so {formula} holds", 3)).words) == f"so {formula} holds\n"


def test_each_block_has_its_own_direction() -> None:
    assert html_of("**التوصية:** نعم\n\n- one", 3).count('dir="auto"') == 2


def test_nothing_is_lost_in_deep_nesting() -> None:
    deep = "\n".join("  " * depth + f"- item{depth}" for depth in range(80))
    words = "".join(Elements(html_of(deep, 3)).words)
    assert all(f"item{depth}" in words for depth in range(80))


def test_hostile_nesting_takes_a_bounded_time() -> None:
    begun = time.monotonic()
    for text in ("[" * 6000 + "]" * 6000, "*a " * 2000 + "a* " * 2000, "![a](" * 2400, "\\[" * 6000, "_a*" * 4000):
        html_of(text, 3)
    assert time.monotonic() - begun < 20
