"""Static files: what is found, what is not, and what is said about it."""

import contextlib
import os
import re
import socket
from email import message_from_bytes
from email.utils import formatdate
from pathlib import Path
from time import time

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.exchange.local_response import File, FileParts, LocalResponse
from proxy.filters import listing
from proxy.filters.files import Files, FilesFirst, FilesOrPage, type_of
from proxy.settings import load
from proxy.wire.route_path import RoutePath
from tests.proxy.filters.requests import asked
from tests.waiting import until

OLD = 1_700_000_000


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "docs").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / ".well-known").mkdir()
    (root / "index.html").write_text("<h1>home</h1>")
    (root / "docs" / "index.html").write_text("<h1>docs</h1>")
    (root / "a b.txt").write_text("space")
    (root / "letters").write_text("abcdefghij")
    (root / ".env").write_text("secret")
    (root / ".well-known" / "security.txt").write_text("Contact: x")
    (tmp_path / "outside.txt").write_text("outside")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "up").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (OLD, OLD))
    return root


def ask(
    site: Path, target: str, *lines: bytes, method: bytes = b"GET", later: float = 0.0
) -> tuple[LocalResponse, bytes]:
    """The answer and its body's bytes, `later` seconds from now; the file is closed again."""
    answer = Files(site, "index.html", clock=lambda: time() + later).check(asked(target, *lines, method=method))
    if isinstance(answer.body, File):
        body = os.pread(answer.body.descriptor, answer.body.length, answer.body.offset)
        answer.body.close()
        return answer, body
    return answer, answer.body


def refused(site: Path, target: str, *lines: bytes, method: bytes = b"GET") -> ExchangeError:
    with pytest.raises(ExchangeError) as refusal:
        ask(site, target, *lines, method=method)
    return refusal.value


def descriptors(site: Path) -> list[str]:
    """What is open beneath a directory; other tests' sockets, which end when they like, are not."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return [path for path in found if path.startswith(str(site))]


def field(answer: LocalResponse, name: str) -> str | None:
    found = dict(line.decode().split(": ", 1) for line in answer.fields)
    return found.get(name)


@pytest.mark.parametrize(
    ("target", "body", "kind"),
    [
        ("/", b"<h1>home</h1>", "text/html; charset=utf-8"),
        ("/docs/", b"<h1>docs</h1>", "text/html; charset=utf-8"),
        ("/docs/index.html?x=1", b"<h1>docs</h1>", "text/html; charset=utf-8"),
        ("/a%20b.txt", b"space", "text/plain; charset=utf-8"),
        ("/letters", b"abcdefghij", "application/octet-stream"),
        ("//letters", b"abcdefghij", "application/octet-stream"),
        ("//docs///index.html", b"<h1>docs</h1>", "text/html; charset=utf-8"),
        ("/docs//", b"<h1>docs</h1>", "text/html; charset=utf-8"),
        ("//.well-known//security.txt", b"Contact: x", "text/plain; charset=utf-8"),
        ("/.well-known/security.txt", b"Contact: x", "text/plain; charset=utf-8"),
    ],
)
def test_files_are_served(site: Path, target: str, body: bytes, kind: str) -> None:
    answer, found = ask(site, target)
    assert (answer.status, found, field(answer, "Content-Type")) == (200, body, kind)
    assert field(answer, "Last-Modified") is not None
    assert field(answer, "X-Content-Type-Options") == "nosniff"
    assert field(answer, "Vary") is None


@pytest.mark.parametrize(
    "target",
    [
        "/missing", "/.env", "/%2eenv", "/docs/.hidden", "/docs/.well-known/x", "/../outside.txt", "/..%2foutside.txt",
        "/%2e%2e/outside.txt", "/docs/..", "/docs%2findex.html", "/link.txt", "/up/outside.txt", "/up/site/letters",
        "/letters/", "//letters//", "/letters/x", "/empty/", "/pipe", "/a\\b", "/%00", "/x" * 300,
        "/" + "n" * 300,
    ],
)  # fmt: skip
def test_what_is_not_a_file_beneath_the_root_is_missing(site: Path, target: str) -> None:
    assert refused(site, target).failure.status == 404


@given(st.lists(st.sampled_from(
    ["/", "//", ".", "..", "%2e", "%2E%2e", "%2f", "%5c", "\\", "%00", "link.txt", "up", "outside.txt", "docs", "site",
     "letters", ".env", ";", "?", "%", "index.html"]), max_size=8))  # fmt: skip
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_spelling_of_a_path_leads_outside(site: Path, pieces: list[str]) -> None:
    try:
        _, body = ask(site, "/" + "".join(pieces))
    except ExchangeError as refusal:
        assert refusal.failure.status == 404
    else:
        assert body in (b"", b"<h1>home</h1>", b"<h1>docs</h1>", b"abcdefghij")


def test_a_root_that_is_a_link_is_followed_anew_each_time(tmp_path: Path, site: Path) -> None:
    current = tmp_path / "current"
    current.symlink_to(site)
    files = Files(current, "index.html")
    first = files.check(asked("/letters"))
    assert isinstance(first.body, File)
    first.body.close()
    (tmp_path / "next").mkdir()
    current.unlink()
    current.symlink_to(tmp_path / "next")
    with pytest.raises(ExchangeError):
        files.check(asked("/letters"))


def test_a_directory_is_redirected_to_its_slash(site: Path) -> None:
    answer, _ = ask(site, "/docs?page=2")
    assert (answer.status, field(answer, "Location")) == (301, "/docs/?page=2")


def test_a_directory_whose_name_looks_like_a_host_stays_here(site: Path) -> None:
    (site / "\\evil.example").mkdir()
    answer, _ = ask(site, "/\\evil.example")
    assert field(answer, "Location") == "/%5Cevil.example/"


def test_a_prefix_is_taken_off_first(site: Path) -> None:
    files = Files(site, "index.html", RoutePath(b"/static/"))
    for target in ("/static/letters", "/%73tatic/letters", "//static/letters"):
        answer = files.check(asked(target))
        assert isinstance(answer.body, File)
        answer.body.close()
    for target in ("/static/docs", "//static/docs"):
        assert files.check(asked(target)).fields == (b"Location: /static/docs/",), "two slashes would name another host"


def test_only_reading_is_possible(site: Path) -> None:
    assert refused(site, "/letters", method=b"POST").failure.status == 405
    answer, _ = ask(site, "/letters", method=b"HEAD")
    assert isinstance(answer.body, File)
    assert answer.body.length == 10


def test_a_file_that_cannot_be_read_is_forbidden(site: Path) -> None:
    (site / "letters").chmod(0)
    root = os.geteuid() == 0
    if root:  # root reads everything: be nobody for a moment
        os.seteuid(65534)
    try:
        assert refused(site, "/letters").failure.status == 403
    finally:
        if root:
            os.seteuid(0)


def test_conditional_requests(site: Path) -> None:
    first, _ = ask(site, "/letters")
    tag = field(first, "ETag")
    assert tag is not None
    assert tag.startswith('"')
    again, body = ask(site, "/letters", b"If-None-Match: " + tag.encode())
    assert (again.status, body, field(again, "ETag")) == (304, b"", tag)
    assert field(again, "Content-Type") is None
    assert refused(site, "/letters", b'If-Match: "other"').failure.status == 412
    (site / "letters").write_text("ABCDEFGHIJ")
    assert ask(site, "/letters", b"If-None-Match: " + tag.encode())[0].status == 200


def test_the_time_of_a_change_is_when_the_file_came_here(site: Path) -> None:
    changed = int((site / "letters").stat().st_ctime)
    told = field(ask(site, "/letters", later=5)[0], "Last-Modified")
    assert told == formatdate(changed, usegmt=True), "not the time that a build gave it"
    assert ask(site, "/letters", b"If-Modified-Since: " + told.encode(), later=5)[0].status == 304
    assert field(ask(site, "/letters")[0], "Last-Modified") == formatdate(changed - 1, usegmt=True), "a moment ago"


@pytest.mark.parametrize("stamp", [0, 1, 315532800, OLD, 4102444800])
@pytest.mark.parametrize("how", ["replaced", "rewritten", "switched"])
def test_another_file_of_the_same_size_and_time_is_another_state(site: Path, stamp: int, how: str) -> None:
    """Reproducible builds give all files one time of change."""
    releases = [site / "one", site / "two"]
    for release, text in zip(releases, ("version = 1", "version = 2"), strict=True):
        release.mkdir()
        (release / "app.js").write_text(text)
        os.utime(release / "app.js", (stamp, stamp))
    (site / "now").symlink_to("one")
    target = "/now/app.js" if how == "switched" else "/one/app.js"
    before, body = ask(site, target)
    assert body == b"version = 1"
    if how == "replaced":
        (site / "two" / "app.js").replace(site / "one" / "app.js")
    elif how == "switched":
        (site / "next").symlink_to("two")
        (site / "next").replace(site / "now")
    else:
        time_of_change = (site / "one" / "app.js").stat().st_ctime_ns
        while (site / "one" / "app.js").stat().st_ctime_ns == time_of_change:  # the clock of files ticks slowly
            (site / "one" / "app.js").write_text("version = 2")
            os.utime(site / "one" / "app.js", (stamp, stamp))
    for condition, name in ((b"If-None-Match", "ETag"), (b"If-Modified-Since", "Last-Modified")):
        value = (field(before, name) or "").encode()
        answer, body = ask(site, target, condition + b": " + value)
        assert (answer.status, body) == (200, b"version = 2"), name
    tag = (field(before, "ETag") or "").encode()
    assert ask(site, target, b"Range: bytes=0-3", b"If-Range: " + tag)[0].status == 200
    date = (field(before, "Last-Modified") or "").encode()
    assert ask(site, target, b"Range: bytes=0-3", b"If-Range: " + date)[0].status == 200


@pytest.mark.parametrize(
    ("wanted", "status", "body", "part"),
    [
        (b"bytes=0-3", 206, b"abcd", "bytes 0-3/10"),
        (b"bytes=-3", 206, b"hij", "bytes 7-9/10"),
        (b"bytes=8-99", 206, b"ij", "bytes 8-9/10"),
        (b"bytes=0-1,4-5", 206, b"abcdef", "bytes 0-5/10"),
        (b"bytes=0-1,4-5,x", 200, b"abcdefghij", None),
        (b"bytes=5-1", 200, b"abcdefghij", None),
    ],
)
def test_ranges(site: Path, wanted: bytes, status: int, body: bytes, part: str | None) -> None:
    answer, found = ask(site, "/letters", b"Range: " + wanted)
    assert (answer.status, found, field(answer, "Content-Range")) == (status, body, part)


def test_several_ranges_are_parts_of_one_message(site: Path) -> None:
    (site / "long.txt").write_bytes(b"0123456789" * 100)
    answer = Files(site, "index.html").check(asked("/long.txt", b"Range: bytes=500-503,0-1,-3"))
    assert isinstance(answer.body, FileParts)
    pieces = [
        before + os.pread(answer.body.descriptor, length, offset) for before, offset, length in answer.body.pieces
    ]
    answer.close()
    body = b"".join(pieces)
    assert (answer.status, answer.length) == (206, len(body))
    kind = field(answer, "Content-Type") or ""
    message = message_from_bytes(f"Content-Type: {kind}\r\n".encode() + body)
    parts = [part for part in message.walk() if not part.is_multipart()]
    assert [part["Content-Range"] for part in parts] == ["bytes 500-503/1000", "bytes 0-1/1000", "bytes 997-999/1000"]
    assert [part.get_payload(decode=True) for part in parts] == [b"0123", b"01", b"789"]
    assert {part["Content-Type"] for part in parts} == {"text/plain; charset=utf-8"}
    assert descriptors(site) == []


def listed(site: Path, target: str, method: bytes = b"GET") -> tuple[list[str], str]:
    """The addresses in a listing, and all of it."""
    answer = Files(site, "index.html", listed=True).check(asked(target, method=method))
    assert isinstance(answer.body, bytes)
    page = answer.body.decode()
    assert (answer.status, field(answer, "Content-Type")) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in (field(answer, "Content-Security-Policy") or "")
    return re.findall('href="([^"]*)"', page), page


def test_a_directory_without_an_index_is_listed(site: Path) -> None:
    many = site / "many"
    many.mkdir()
    for name in ("b.txt", "A.txt", ".hidden", "<i>&.txt", "javascript:alert(1)", 'q"uote', "ü", "a%2fb"):
        (many / name).write_text("12345")
    (many / os.fsdecode(b"\xff\n")).write_text("")
    (many / "sub").mkdir()
    os.mkfifo(many / "pipe")
    (many / "in.txt").symlink_to("b.txt")
    (many / "out.txt").symlink_to(site.parent / "outside.txt")
    (many / "gone").symlink_to("nowhere")
    (many / "round").symlink_to("sub")
    addresses, page = listed(site, "/many/?x=<b>")
    assert addresses[:3] == ["../", "round/", "sub/"]
    assert addresses[3:] == [
        "%3Ci%3E%26.txt", "a%252fb", "A.txt", "b.txt", "in.txt", "javascript%3Aalert%281%29", "q%22uote", "%C3%BC",
        "%FF%0A",
    ]  # fmt: skip
    assert "<i>" not in page
    assert "<b>" not in page
    assert "Index of /many/<" in page
    assert listed(site, "/many/", b"HEAD") == (addresses, page)
    assert descriptors(site) == []


def test_a_directory_need_not_have_an_index(site: Path) -> None:
    off = load({"root": str(site), "index": "off"}).index
    with pytest.raises(ExchangeError):
        Files(site, off).check(asked("/docs/"))
    assert FilesFirst(Files(site, off)).check(asked("/docs/")) is None


def test_listings_only_where_they_are_wanted(site: Path) -> None:
    with pytest.raises(ExchangeError):
        Files(site, "index.html").check(asked("/empty/"))
    files = Files(site, "index.html", listed=True)
    assert files.check(asked("/empty")).status == 301
    page = files.check(asked("/docs/"))
    assert isinstance(page.body, File), "a directory with an index"
    page.close()
    for target in ("/none/", "/letters/", "/up/", "/%2e%2e/", "/.git/", "/pipe/", "/none"):
        with pytest.raises(ExchangeError) as refusal:
            files.check(asked(target))
        assert refusal.value.failure.status == 404
    assert listed(site / "empty", "/")[0] == [], "nothing, and no way out"


def test_a_listing_is_bounded(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.filters.listing._MOST", 3)
    for name in "abcd":
        (site / "empty" / name).touch()
    addresses, page = listed(site, "/empty/")
    assert len(addresses) == 4
    assert "there are more" in page


@pytest.mark.parametrize("modified", [0.0, 1e15, -1e12, 2.0**62])
def test_a_time_that_no_calendar_has_is_left_out(modified: float) -> None:
    """Some file systems keep any; whoever sets it must not take the listing from others."""
    assert listing._row(listing.Listed(b"a", 1, modified)).endswith("<td>1</td><td></td></tr>\n")


def test_a_range_behind_the_end(site: Path) -> None:
    refusal = refused(site, "/letters", b"Range: bytes=10-")
    assert (refusal.failure.status, refusal.fields) == (416, (b"Content-Range: bytes */10",))


def test_a_range_of_a_file_that_has_changed_gets_the_whole(site: Path) -> None:
    assert ask(site, "/letters", b"Range: bytes=0-3", b'If-Range: "other"')[0].status == 200
    tag = field(ask(site, "/letters")[0], "ETag")
    assert tag is not None
    assert ask(site, "/letters", b"Range: bytes=0-3", b"If-Range: " + tag.encode())[0].status == 206


def test_encoded_siblings_are_chosen_by_what_is_accepted(site: Path) -> None:
    (site / "app.js").write_text("plain")
    (site / "app.js.gz").write_bytes(b"gzipped")
    (site / "app.js.br").write_bytes(b"brotli")
    answer, body = ask(site, "/app.js", b"Accept-Encoding: gzip, br")
    assert (body, field(answer, "Content-Encoding"), field(answer, "Vary")) == (b"brotli", "br", "Accept-Encoding")
    assert field(answer, "Content-Type") == "text/javascript; charset=utf-8"
    other, body = ask(site, "/app.js", b"Accept-Encoding: gzip")
    assert (body, field(other, "Content-Encoding")) == (b"gzipped", "gzip")
    assert field(other, "ETag") != field(answer, "ETag")
    plain, body = ask(site, "/app.js")
    assert (body, field(plain, "Content-Encoding"), field(plain, "Vary")) == (b"plain", None, "Accept-Encoding")


def test_an_encoded_sibling_that_is_older_is_left_out(site: Path) -> None:
    (site / "app.js").write_text("new")
    (site / "app.js.gz").write_bytes(b"stale")
    os.utime(site / "app.js.gz", (OLD, OLD))
    assert ask(site, "/app.js", b"Accept-Encoding: gzip")[1] == b"new"


def test_no_descriptor_is_lost(site: Path) -> None:
    (site / "app.js").write_text("plain")
    (site / "app.js.gz").write_bytes(b"gzipped")
    for _ in range(20):
        ask(site, "/app.js", b"Accept-Encoding: gzip")
        ask(site, "/docs")
        refused(site, "/link.txt")
        refused(site, "/letters", b'If-Match: "x"')
        refused(site, "/letters", b"Range: bytes=99-")
        tag = (field(ask(site, "/letters")[0], "ETag") or "").encode()
        ask(site, "/letters", b"If-None-Match: " + tag)
    assert descriptors(site) == []


def test_client_leaving_during_disk_io_leaks_no_descriptor(site: Path) -> None:
    asking = gevent.spawn(Files(site, "index.html").check, asked("/letters"))
    gevent.sleep(0)
    asking.kill()
    gevent.get_hub().threadpool.join()
    until(lambda: not descriptors(site), "the files are closed", pause=gevent.sleep)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.html", b"text/html; charset=utf-8"),
        ("x.mjs", b"text/javascript; charset=utf-8"),
        ("x.json", b"application/json; charset=utf-8"),
        ("x.svg", b"image/svg+xml; charset=utf-8"),
        ("x.woff2", b"font/woff2"),
        ("x.tar.gz", b"application/gzip"),
        ("x.png", b"image/png"),
        ("x", b"application/octet-stream"),
    ],
)
def test_content_types(name: str, kind: bytes) -> None:
    assert type_of(name) == kind


def test_a_socket_is_not_a_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("sock")
        assert refused(site, "/sock").failure.status == 404


def one_page(site: Path, target: str, *lines: bytes, method: bytes = b"GET") -> LocalResponse:
    return FilesOrPage(Files(site, "index.html"), "/letters").check(asked(target, *lines, method=method))


@pytest.mark.parametrize(
    ("target", "lines", "page"),
    [
        ("/orders/7", [], True),
        ("/orders/7?x=a.b", [], True),
        ("/user.name", [b"Accept: text/html,*/*;q=0.8"], True),
        ("/app.js", [b"Accept: */*"], False),
        ("/app.js", [], False),
        ("/.env", [b"Accept: */*"], False),
    ],
)
def test_missing_files_are_the_page_of_the_router(site: Path, target: str, lines: list[bytes], page: bool) -> None:
    if page:
        answer = one_page(site, target, *lines)
        assert isinstance(answer.body, File)
        answer.close()
        assert (answer.status, answer.fields) == (200, ask(site, "/letters")[0].fields)
    else:
        with pytest.raises(ExchangeError) as refusal:
            one_page(site, target, *lines)
        assert refusal.value.failure.status == 404


def test_the_page_has_its_own_validators(site: Path) -> None:
    answer = one_page(site, "/orders/7")
    answer.close()
    tag = (field(answer, "ETag") or "").encode()
    assert one_page(site, "/orders/8", b"If-None-Match: " + tag).status == 304
    with pytest.raises(ExchangeError) as refusal:
        one_page(site, "/orders/7", method=b"POST")
    assert refusal.value.failure.status == 405


def test_what_is_no_file_is_for_the_application(site: Path) -> None:
    first = FilesFirst(Files(site, "index.html"))
    answer = first.check(asked("/letters"))
    assert answer is not None
    answer.close()
    (site / "plain").mkdir()
    for target in ("/none", "/plain", "/plain/", "/.hidden"):
        assert first.check(asked(target)) is None
    assert first.check(asked("/letters", method=b"POST")) is None
    socket = asked("/letters")
    socket.upgrade = b"websocket"
    assert first.check(socket) is None
    with pytest.raises(ExchangeError) as refusal:
        first.check(asked("/letters", b"Range: bytes=1000000-"))
    assert refusal.value.failure.status == 416
