"""Text out of documents, those included that were made to do harm."""

import os
import time
import zlib

import pytest

from aragora.documents import Unreadable, text_of
from aragora.documents.html import text_of_html


def pdf(*streams: bytes, filtered: bool = False) -> bytes:
    """A PDF of one page for each content stream."""
    parts = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for stream in streams:
        kids.append(f"{len(parts) + 1} 0 R")
        body = zlib.compress(stream) if filtered else stream
        extra = b" /Filter /FlateDecode" if filtered else b""
        parts.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents %d 0 R /Resources << /Font << /F1 << "
            b"/Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>" % (len(parts) + 2)
        )
        parts.append(b"<< /Length %d%s >>\nstream\n%s\nendstream" % (len(body), extra, body))
    parts[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    found = b"%PDF-1.4\n"
    places = []
    for number, part in enumerate(parts, 1):
        places.append(len(found))
        found += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(found)
    found += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(parts) + 1, table)
    return found + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, start)


def shown(words: bytes) -> bytes:
    return b"BT /F1 12 Tf 20 200 Td (" + words + b") Tj ET"


@pytest.mark.parametrize(
    ("data", "content_type", "expected"),
    [
        (b"# Plan\r\n\r\n- one\n", "text/markdown", "# Plan\n\n- one"),
        ("Käse".encode("latin-1"), "text/plain; charset=ISO-8859-1", "Käse"),
        ("Käse".encode("utf-16"), "text/plain; charset=utf-16", "Käse"),
        (b"\xef\xbb\xbfbom", "text/plain", "bom"),
        (b"K\xe4se", "text/plain", "K\ufffdse"),
        (b"a\x00b", "text/plain", "ab"),
        (b"x", "text/plain; charset=zlib", "x"),
        (b"x", "text/plain; charset=nonsense", "x"),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"a\n\n\n\n\nb", "text/plain", "a\n\nb"),
    ],
)
def test_plain_text_is_what_it_is(data: bytes, content_type: str, expected: str) -> None:
    assert text_of(data, content_type) == expected


def test_the_text_of_a_page() -> None:
    page = b"""<!doctype html><html><head><title>No</title><style>p{}</style></head><body><nav>Menu</nav>
    <h2>Why &amp; how</h2><p>It   <b>works</b>.<br>Really.</p><script>alert(1)</script>
    <ul><li>one<li>two</ul><pre>  a = 1
  b = 2</pre><table><tr><td>x</td><td>y</td></tr></table><template>no</template><svg><text>no</text></svg></body>"""
    assert text_of(page, "text/html; charset=utf-8") == (
        "## Why & how\n\nIt works.\nReally.\n\n- one\n- two\n\n  a = 1\n  b = 2\n\n | x | y"
    )


@pytest.mark.parametrize(
    "page", ["<p>a", "<script>x", "<a <b <c", "<!--", "<![CDATA[", "&#x110000;", "<svg>" * 1000, ""]
)
def test_any_page_is_read(page: str) -> None:
    assert isinstance(text_of_html(page), str)


def test_the_text_of_a_pdf() -> None:
    found = text_of(pdf(shown(b"Measure first."), shown(b"Then decide."), filtered=True), "application/pdf")
    assert found == "Measure first.\n\nThen decide."


@pytest.mark.parametrize(
    ("data", "content_type", "words"),
    [
        (b"\x89PNG", "image/png", "image/png is not read"),
        (b"x", "", "a document of no type is not read"),
        (b"", "text/plain", "there is no text in it"),
        (b"  \n", "text/markdown", "there is no text in it"),
        (b"not a PDF", "application/pdf", "it is damaged"),
        (b"%PDF-1.4\n" + b"\xff" * 1000, "application/pdf", "it is damaged"),
        (pdf(b""), "application/pdf", "there is no text in it"),
        (b"<script>only</script>", "text/html", "there is no text in it"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, content_type: str, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        text_of(data, content_type)


def test_a_bomb_costs_a_bounded_process_and_nothing_here() -> None:
    bomb = pdf(b"(" + b"a" * 400_000_000 + b") Tj", filtered=True)
    assert len(bomb) < 1_000_000
    began = time.monotonic()
    with pytest.raises(Unreadable):
        text_of(bomb, "application/pdf")
    assert time.monotonic() - began < 30


def test_the_reader_knows_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from aragora.documents import reading

    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setattr(reading, "_CHILD", "import os; print(*('read', *os.environ), sep=chr(10))")
    names = text_of(b"<p>x", "text/html").split()
    assert "OPENAI_API_KEY" not in names
    assert set(names) <= {"PYTHONPATH", "PYTHONUTF8", "LC_CTYPE", "PWD", "SHLVL", "_"}
    assert "OPENAI_API_KEY" in os.environ
