"""Error pages and maintenance."""

import ipaddress
import json
from pathlib import Path

import pytest

from proxy import errors
from proxy.errors import ExchangeError
from proxy.filters.header_fields import FieldRewrite
from proxy.filters.maintenance import Maintenance
from proxy.settings.pages import MAX_PAGE, load_pages
from proxy.settings.values.field_lines import NAMES, OF_REQUESTS, OF_RESPONSES
from tests.proxy.filters.requests import asked


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "404.html").write_text("<p>{status} {phrase}: {message} ({request_id}) {other} <style>a{b:c}</style>")
    (tmp_path / "5xx.html").write_text("<p>sorry, {reason}</p>")
    (tmp_path / "5xx.json").write_text('{"why": "{message}", "id": "{request_id}", "status": {status}}')
    (tmp_path / "notes.txt").write_text("not a page")
    return tmp_path


def test_the_most_exact_page_is_taken(directory: Path) -> None:
    (directory / "503.html").write_text("exact")
    pages = load_pages(directory, None)
    for failure, body in ((errors.UNAVAILABLE, b"exact"), (errors.BAD_RESPONSE, b"<p>sorry, bad_response</p>")):
        assert pages.page(ExchangeError(failure), "", b"r", browser=True) == (body, b"text/html; charset=utf-8")
    assert pages.page(ExchangeError(errors.METHOD), "", b"r", browser=True) is None


def test_placeholders_are_filled_and_escaped(directory: Path) -> None:
    pages = load_pages(directory, None)
    found = pages.page(ExchangeError(errors.FILE_MISSING, "<b>"), "Not Found", b'"id"', browser=True)
    assert found is not None
    assert found[0] == (b"<p>404 Not Found: File not found: &lt;b&gt; (&quot;id&quot;) {other} <style>a{b:c}</style>")
    found = pages.page(ExchangeError(errors.UNKNOWN_CODING, 'a "quote"'), "", b"r", browser=False)
    assert found is not None
    assert json.loads(found[0]) == {
        "why": 'Transfer coding not supported: a "quote"',
        "id": "r",
        "status": 501,
    }


@pytest.mark.parametrize(
    ("name", "content", "fix"),
    [
        ("6xx.html", b"", "unexpected name"),
        ("404.JSON.html", b"", "unexpected name"),
        ("404.html", b"\xff", "save it as UTF-8"),
        ("404.html", b"x" * (MAX_PAGE + 1), "larger than"),
        ("404.json", b"{", "not valid JSON"),
    ],
)
def test_pages_that_cannot_be_used_are_named(tmp_path: Path, name: str, content: bytes, fix: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=fix) as mistake:
        load_pages(tmp_path, None)
    assert name in str(mistake.value)


def test_a_directory_that_is_missing_or_too_full_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a directory of pages"):
        load_pages(tmp_path / "missing", None)
    for number in range(65):
        (tmp_path / f"{400 + number}.html").write_text("")
    with pytest.raises(ValueError, match="more than 64"):
        load_pages(tmp_path, None)


def test_the_maintenance_page_is_one_of_them(tmp_path: Path) -> None:
    page = tmp_path / "back-soon.html"
    page.write_text("back soon")
    found = load_pages(None, page).page(ExchangeError(errors.MAINTENANCE), "", b"r", browser=True)
    assert found == (b"back soon", b"text/html; charset=utf-8")
    with pytest.raises(ValueError, match=r"ends in \.html or \.json"):
        load_pages(None, tmp_path / "page.txt")


def test_maintenance_refuses_all_but_the_allowed() -> None:
    step = Maintenance([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")])
    for allowed in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1%eth0"):
        step.check(asked("/", client=allowed))
    for other in ("192.0.2.1", "unix", "", "2001:db9::1"):
        with pytest.raises(ExchangeError) as refusal:
            step.check(asked("/", client=other))
        assert refusal.value.failure.retry_after


def test_fields_are_set_once_and_removed() -> None:
    changes = FieldRewrite([("X-Frame-Options", "DENY")], ["Server"])
    assert changes.apply([b"server: x", b"X-FRAME-OPTIONS: ALLOW", b"A: 1"]) == [b"A: 1", b"X-Frame-Options: DENY"]
    assert changes
    assert not FieldRewrite([], [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "x"), ("Content-Length", "1"), ("transfer-encoding", "chunked"), ("Connection", "x"),
        ("Upgrade", "h2c"), ("X-Forwarded-For", "x"), ("X-Real-IP", "x"), ("Forwarded", "x"), ("X-Request-ID", "x"),
        ("Content-Encoding", "br"), ("Sec-WebSocket-Key", "x"), ("A:", "x"), ("", "x"),
        ("A", "x\r\nB: y"), ("A", "x\0"),
    ],
)  # fmt: skip
def test_fields_that_nobody_may_touch_are_refused(name: str, value: str) -> None:
    for kind in (OF_RESPONSES, OF_REQUESTS) if name != "Host" else (OF_RESPONSES,):
        with pytest.raises(ValueError, match=r"remove it|is not a field name|without control characters"):
            kind.read({name: value})
    if value == "x":
        with pytest.raises(ValueError, match=r"remove it|not a valid name|field name"):
            NAMES.read([name or ";"])
