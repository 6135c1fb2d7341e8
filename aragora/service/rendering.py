"""What agents and people wrote in Markdown, as HTML of a few harmless elements.

HTML of theirs is shown, never obeyed; links lead to http and https alone; images are links to them, so that reading a
download asks no server for anything; mathematics is left as it was written.
"""

import html
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

LINK = {"rel": "noopener noreferrer nofollow ugc", "target": "_blank"}
LOWEST_HEADING = 6
MOST_NESTING = 40  # of blocks within each other; the library would leave out what lies deeper
KEPT = 256  # renderings, for pages that many people open
_FORMULA = re.compile(
    r"\$\$[^$]{1,2000}\$\$|\$(?!\s)[^$\n]{0,500}(?<![\s\\])\$(?!\d)|\\\(.{1,500}?\\\)|\\\[.{1,2000}?\\\]", re.DOTALL
)


class Reader(MarkdownIt):
    """CommonMark with GFM's tables and struck text, of which no HTML and no other link than to the web is taken."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the name is the library's
        """Whether `url` is an address of the web; what is none stays text."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and bool(parts.hostname)


@cache
def reader() -> Reader:
    """The one reader of all; it keeps nothing of what it has read."""
    made = Reader("commonmark", {"html": False, "breaks": True, "maxNesting": MOST_NESTING})
    made.enable(["table", "strikethrough"])
    made.inline.ruler.before("escape", "formula", _formula)
    return made


def _formula(state: StateInline, silent: bool) -> bool:
    """Mathematics stays as it was written: its signs are no emphasis and no escapes."""
    found = _FORMULA.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push("text", "", 0).content = found[0]
    state.pos = found.end()
    return True


@lru_cache(KEPT)
def html_of(text: str, level: int) -> str:
    """Blocks of HTML that show `text`; its highest heading is an `h{level}`."""
    read = reader()
    tokens = read.parse(text)
    if max((token.level for token in tokens), default=0) >= MOST_NESTING - 1:
        return f"<p>{html.escape(text)}</p>\n"
    depths = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    offset = level - min(depths, default=level)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(LOWEST_HEADING, int(token.tag[1]) + offset)}"
        if token.nesting == 1 and (token.level == 0 or token.tag in ("td", "th")):
            token.attrSet("dir", "auto")
        if token.children is not None:
            token.children = list(_harmless(token.children))
    return str(read.renderer.render(tokens, read.options, {}))


@lru_cache(KEPT)
def phrase_of(text: str) -> str:
    """HTML that shows `text` on one line."""
    read = reader()
    [paragraph] = read.parseInline(" ".join(text.split()))
    return str(read.renderer.render(list(_harmless(paragraph.children or ())), read.options, {}))


def _harmless(tokens: Sequence[Token]) -> Iterator[Token]:
    opened: list[bool] = []  # whether each link around leads anywhere
    for token in tokens:
        if token.type == "link_open":
            opened.append(bool(token.attrs["href"]))
            token.attrs |= LINK
            if not opened[-1]:
                continue
        elif token.type == "link_close" and not opened.pop():
            continue
        if token.type == "image":
            yield from _pointer(token, bool(opened))
        else:
            yield token


def _pointer(image: Token, is_within_link: bool) -> Iterator[Token]:
    """The link that an image becomes; a link holds no other, and its text has to do there."""
    href = image.attrs["src"]
    shown = Token("text", "", 0, content=f"[{image.content or 'image'}]")
    if is_within_link or not href:
        yield shown
        return
    yield Token("link_open", "a", 1, attrs={**LINK, "href": href})
    yield shown
    yield Token("link_close", "a", -1)
