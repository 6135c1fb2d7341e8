"""The Markdown of exports, read by an independent reader: everything is shown, nothing is active, code is exact."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from aragora.service import markdown

READERS = (MarkdownIt("commonmark"), MarkdownIt("commonmark").enable(["table", "strikethrough"]))
ACTIVE = {"link_open", "image", "html_inline", "html_block"}

ATTACKS = [
    "![i](http://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "[x][r]\n\n[r]: http://evil.example",
    "[r]\n\n[r]: http://evil.example 'title'",
    "<http://evil.example> <img src=http://evil.example> <script>alert(1)</script>",
    "\\[x](http://evil.example)",
    "\\\\[x](http://evil.example)",
    "![x\\](http://evil.example)",
    "&#91;x](http://evil.example) &lbrack;x&rbrack;(http://evil.example)",
    "`a` [x](http://evil.example) `b`",
    "`a [x](http://evil.example)",
    "``a` [x](http://evil.example)`` [y](http://evil.example)",
    "```\ncode\n[x](http://evil.example)\n```\n[x](http://evil.example)",
    "~~~ a`b\ntext\n```\n~~~\n[x](http://evil.example)\n```",
    "``` a`b\ntext\n```\n[x](http://evil.example)",
    "- ```\n  [x](http://evil.example)\n  ```\n[x](http://evil.example)",
    "> ```\n> code\n\n[x](http://evil.example)",
    "> > - ~~~\n[x](http://evil.example)",
    "    [x](http://evil.example)\n[x](http://evil.example)",
    "# heading\n    [x](http://evil.example)",
    "a\n    [x](http://evil.example)",
    "\t[x](http://evil.example)",
    "a `b\nc` [x](http://evil.example)",
    "| a | b |\n|---|---|\n| [x](http://evil.example) | ![](http://evil.example) |",
    "[x]: <http://evil.example>\n[x]",
    "*[x](http://evil.example)*{: onclick=alert(1)}",
    "````\n```\n[x](http://evil.example)\n```\n````\n![](http://evil.example)",
    '```mermaid\nclick a href "http://evil.example"\n```',
    "1. ```js\n[x](http://evil.example)\n1. ```\n[x](http://evil.example)",
]


def read(text: str, reader: MarkdownIt) -> list[Token]:
    """Every token of the quote that shows `text`, those within paragraphs included."""
    found: list[Token] = []
    for token in reader.parse("\n".join(markdown.quoted(text))):
        found += [token, *(token.children or ())]
    return found


def is_inert(text: str) -> bool:
    tokens = [token for reader in READERS for token in read(text, reader)]
    return not [token for token in tokens if token.type in ACTIVE]


@pytest.mark.parametrize("attack", ATTACKS)
def test_links_and_images_are_inert(attack: str) -> None:
    assert is_inert(attack)
    assert is_inert(f"{attack}\n{attack}")
    assert is_inert(f"text {attack}")
    assert not any(token.type in ACTIVE for token in READERS[0].parseInline(markdown.inline(attack))[0].children or ())


PIECES = st.sampled_from(
    ["`", "``", "```", "````", "~~~", "[x](http://e.co)", "![](http://e.co)", "[r]: http://e.co", "<b>", "\\", "&#91;",
     "\n", "\n\n", "    ", "\t", "> ", "- ", "1. ", "|", "*", "_", "#", "a", " ", "{: x}", "---", "===", "www.e.co"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60))
@example("~~~ `\n```\n~~~\n[x](http://e.co)")
def test_no_text_whatever_becomes_active(text: str) -> None:
    assert is_inert(text)


CODE = [
    'if a[0] < b and c["x"] != `d`:\n    print(f"{a}\\n")  # http://example.com @me $x',
    "<script>alert(1)</script>",
    "  indented\n\n\n\ttabbed\n",
    "a\n```\nb",
    "> quoted\n- item\n~~~",
    "*a* _b_ \\* &amp; [x](y)",
]


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("form", ["````py\n{}\n````", "text\n````\n{}\n````\ntext", "~~~~~ js\n{}\n~~~~~", "````\n{}"])
def test_fenced_code_is_exact(code: str, form: str) -> None:
    shown = [token.content for token in read(form.format(code), READERS[0]) if token.type == "fence"]
    assert shown == [code + "\n"]


def test_indented_code_and_spans_are_exact() -> None:
    tokens = read("Take this:\n\n    a[0] < b\n        c @d\n\n    e\n\nand `x[1] < $y` and ``a`b``.", READERS[0])
    assert [token.content for token in tokens if token.type == "fence"] == ["a[0] < b\n    c @d\n\ne\n"]
    assert [token.content for token in tokens if token.type == "code_inline"] == ["x[1] < $y", "a`b"]


def test_code_in_a_list_is_exact() -> None:
    tokens = read("1. First\n   ```sh\n   cat a[0] | b\n   ```\n2. Second\n- ```\n  x[1]\n  ```\nend", READERS[0])
    assert [token.content.split() for token in tokens if token.type == "fence"] == [["cat", "a[0]", "|", "b"], ["x[1]"]]


def test_prose_reads_as_it_was_written() -> None:
    text = "It costs $5 at https://example.com or me@www.example.com [1] ~ {x} a\\b <c> & d! e.g. this."
    shown = "".join(token.content for token in read(text, READERS[0]) if token.type in ("text", "text_special"))
    assert shown == text


def test_shape_is_kept() -> None:
    kinds = {token.type for token in read("# A\n\n- **b**\n- *c*\n\n| d |\n|---|\n| e |", READERS[1])}
    assert {"heading_open", "bullet_list_open", "strong_open", "em_open", "table_open"} <= kinds


def test_what_readers_would_draw_is_shown_instead() -> None:
    tokens = read("```mermaid\nx\n```\n```python\ny\n```", READERS[0])
    assert [token.info for token in tokens if token.type == "fence"] == ["", "python"]
