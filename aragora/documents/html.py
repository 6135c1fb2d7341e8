"""The text of a page: headings, paragraphs, lists and tables as plain lines, without what only browsers need."""

from html.parser import HTMLParser

_SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "math", "iframe", "object", "nav", "head"})
_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure"),
        *("footer", "header", "hr", "main", "ol", "p", "pre", "section", "table", "tr", "ul", "br", "caption"),
    }
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._skipping: list[str] = []
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in _SKIPPED:
            self._skipping.append(tag)
        elif tag in _HEADINGS:
            self._parts.append(f"\n\n{_HEADINGS[tag]}")
        elif tag == "li":
            self._parts.append("\n- ")
        elif tag in ("td", "th"):
            self._parts.append(" | ")
        elif tag in _BLOCKS:
            self._parts.append("\n")
        self._verbatim += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag in self._skipping:
            del self._skipping[self._skipping.index(tag) :]
        elif tag in _HEADINGS or tag in _BLOCKS:
            self._parts.append("\n")
        if tag == "pre" and self._verbatim:
            self._verbatim -= 1

    def handle_data(self, data: str) -> None:
        if self._skipping:
            return
        if self._verbatim:
            self._parts.append(data)
            return
        words = " ".join(data.split())
        if words:
            begins_line = not self._parts or self._parts[-1].endswith("\n")
            before = " " if data[0].isspace() and not begins_line else ""
            after = " " if data[-1].isspace() else ""
            self._parts.append(f"{before}{words}{after}")
        elif self._parts and not self._parts[-1].endswith((" ", "\n")):
            self._parts.append(" ")

    def text(self) -> str:
        """What was read, line by line."""
        return "\n".join(line.rstrip() for line in "".join(self._parts).split("\n"))


def text_of_html(page: str) -> str:
    """The text of `page`, whatever is wrong with it."""
    reader = _Text()
    reader.feed(page)
    reader.close()
    return reader.text()
