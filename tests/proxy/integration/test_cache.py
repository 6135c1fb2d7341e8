"""Stored responses: which are, for which requests, for how long, and that nobody can put something into them."""

import gzip
import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.ports import ports
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import Answer, Client
from tests.proxy.integration.stored_pages import Application, Asked, Page
from tests.waiting import PATIENCE, until

FRESH = {"Cache-Control": "max-age=600"}
BROWSER = ("User-Agent: a browser", "Accept: text/html", "Accept-Language: de", "Cookie: _ga=1")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    running = Application()
    yield running
    running.close()


@pytest.fixture(scope="module")
def gateway(application: Application, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("cache")
    running = serve(
        directory, application.address, "--cache", "on", "--cache-dir", str(directory / "stored"), "--h2c", "on",
        "--cors-origins", "https://a.example", "--compress", "on", "--workers", "2", "--cache-wait", "10m",
        "--sendfile-root", str(directory), workers=2,
    )  # fmt: skip
    yield running
    running.close()
    assert "failed inside the gateway" not in running.log, running.log


@pytest.fixture
def path() -> str:
    return f"/{next(_numbers)}"


def ask(gateway: Gateway, target: str, *lines: str, method: str = "GET", host: str = "app.example") -> Answer:
    with Client(gateway.address) as client:
        head = "".join(line + "\r\n" for line in (f"{method} {target} HTTP/1.1", f"Host: {host}", *lines))
        client.send(head.encode() + b"\r\n")
        return client.final(head_only=method == "HEAD")


def open_files(gateway: Gateway) -> Iterator[Path]:
    """What its workers have open; a file may be closed meanwhile."""
    for link in (link for pid in gateway.workers() for link in Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(FileNotFoundError):
            yield link.readlink()


def status(answer: Answer) -> str:
    return answer.field("Cache-Status") or ""


def test_fresh_response_is_sent_again(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page({**FRESH, "Content-Type": "text/plain", "X-Own": "1"}, "hello")
    first, second = ask(gateway, path), ask(gateway, path)
    assert status(first) == "aragora-proxy; fwd=miss; fwd-status=200; stored"
    assert status(second).startswith("aragora-proxy; hit; ttl=")
    assert (second.body, second.field("Content-Type"), second.field("X-Own")) == (b"hello", "text/plain", "1")
    assert second.field("Age") in ("0", "1")
    assert second.field("Date")
    assert application.count(path) == 1
    head = ask(gateway, path, method="HEAD")
    assert (head.status, head.field("Content-Length"), status(head)[:18]) == (200, "5", "aragora-proxy; hit")


def test_http2_clients_share_with_those_of_http1(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page(FRESH, "hello")
    ask(gateway, path, host=f"127.0.0.1:{gateway.port}")
    with httpx.Client(http1=False, http2=True) as client:
        answers = [client.get(f"{gateway.url}{path}", headers={"cookie": f"a={number}"}) for number in range(3)]
    assert [answer.text for answer in answers] == ["hello"] * 3
    assert all("; hit" in answer.headers["cache-status"] for answer in answers)
    assert application.count(path) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"Cache-Control": "no-store"}, {"Cache-Control": "private, max-age=60"}, {"Cache-Control": "max-age=0"},
        {**FRESH, "Set-Cookie": "a=1"}, {**FRESH, "Vary": "*"}, {"Cache-Control": "max-age=60 private"},
        {"Cache-Control": "max-age=x"}, {"Expires": "0"}, {**FRESH, "Age": "700"},
        {"Cache-Control": 'max-age=60, x="a'}, {**FRESH, "Content-Type": "text/event-stream"},
    ],
    ids=str,
)  # fmt: skip
def test_what_may_not_be_stored_is_not(
    gateway: Gateway, application: Application, path: str, fields: dict[str, str]
) -> None:
    application.pages[path] = Page(fields)
    for _ in range(3):
        assert "stored" not in status(ask(gateway, path))
    assert application.count(path) == 3


def test_authorization_is_stored_where_the_rfc_allows(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page(FRESH)
    assert "stored" not in status(ask(gateway, path, "Authorization: Bearer x"))
    application.pages[path] = Page({"Cache-Control": "public, max-age=60"})
    assert "stored" in status(ask(gateway, path, "Authorization: Bearer x"))
    assert "hit" in status(ask(gateway, path, "Authorization: Bearer x"))


def test_browsers_share_after_their_first_request(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page({**FRESH, "Vary": "Accept-Encoding"}, "hello")
    for number in range(9):
        language = f"Accept-Language: l{number}"
        assert ask(gateway, path, *BROWSER[:2], language, f"Cookie: session={number}").body == b"hello"
    assert application.count(path) == 2
    assert "cookie" not in application.asked[-1].fields
    assert "user-agent" not in application.asked[-1].fields


def test_vary_keeps_one_for_each_value(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page(
        {**FRESH, "Vary": "Accept-Language"}, lambda fields: fields.get("accept-language", "none")
    )
    for _ in range(3):
        for language in ("de", "fr"):
            assert ask(gateway, path, f"Accept-Language: {language}", "User-Agent: x").body == language.encode()
        assert ask(gateway, path).body == b"none"
    assert application.count(path) <= 4


def test_page_of_one_user_is_never_anothers(gateway: Gateway, application: Application, path: str) -> None:
    """Also where the application marks it as one for all, as rules by suffix do (web cache deception)."""

    def page(asked: Asked) -> Page:
        name = asked.fields.get("cookie")
        return Page({"Cache-Control": "public, max-age=60"}, name) if name else Page(status=302)

    application.pages[path + ".css"] = page
    for name in ("a=1", "a=2", "a=1", "a=3", "a=2"):
        assert ask(gateway, path + ".css", f"Cookie: {name}").body == name.encode()
    assert ask(gateway, path + ".css").status == 302


INJECTED = [
    "X-Forwarded-Host: evil.example", "X-Forwarded-Scheme: nothttps", "X-Forwarded-Proto: evil", "X-Host: evil.example",
    "X-Original-URL: /evil", "X-Rewrite-URL: /evil", "X-HTTP-Method-Override: POST", "X-Method-Override: DELETE",
    "X-HTTP-Method: HEAD", "User-Agent: evil", "Accept: evil/evil", "Accept-Language: evil", "Cookie: lang=evil",
    "Referer: https://evil.example/", "Origin: https://evil.example", "Accept-Encoding: evil", "Via: 1.1 evil",
    "Forwarded: host=evil.example", "X-Forwarded-Prefix: /evil", "X-Forwarded-Server: evil", "Range: bytes=0-1",
    "Sec-Fetch-Dest: evil", "Max-Forwards: 0", "Pragma: akamai-x-get-cache-key", "X-Forwarded-Port: 1", "TE: evil",
    "If-None-Match: *", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", "X-Requested-With: evil", "From: evil",
    "Content-Type: evil/evil", "Cache-Control: evil=1", "Zuul-Path: evil", "X-Real-IP: 6.6.6.6", "Transfer: evil",
    "Upgrade: evil", "Connection: X-Something", "Authorization: Basic ZXZpbA==", "Forwarded-For: evil",
    f"Traceparent: 00-{'6' * 32}-{'6' * 16}-01\r\nTracestate: a=evil", "X-Request-ID: evil",
]  # fmt: skip


@pytest.mark.parametrize("line", INJECTED, ids=lambda line: line.partition(":")[0])
@pytest.mark.parametrize("again", [1, 3])
def test_no_field_changes_what_others_get(
    gateway: Gateway, application: Application, path: str, line: str, again: int
) -> None:
    """An application that puts everything it is sent into pages that it says are for all."""

    def page(asked: Asked) -> Page:
        seen = {name: value for name, value in asked.fields.items() if name != "x-request-id"}
        return Page({"Cache-Control": "public, max-age=600"}, str([asked.method, *seen.items()]))

    application.pages[path] = page
    for _ in range(again):
        ask(gateway, path, line)
    clean = ask(gateway, path)
    assert clean.status == 200
    assert b"evil" not in clean.body
    assert b"6.6.6.6" not in clean.body
    assert b"'if-" not in clean.body
    assert b"'range'" not in clean.body


@pytest.mark.parametrize(
    "other",
    [
        "?utm_source=evil",
        "?",
        "?a=1;callback=evil",
        "/",
        "//",
        "%2f",
        "%20",
        ";evil.css",
        ".css",
        "?a=1&a=evil",
        "%3Fx",
    ],
)
def test_no_other_target_is_the_same(gateway: Gateway, application: Application, path: str, other: str) -> None:
    target = path + other
    for one in (path, target.partition("?")[0]):
        application.pages[one] = lambda asked: Page(FRESH, asked.target)
    assert ask(gateway, target).body == target.encode()
    assert ask(gateway, path).body == path.encode()
    assert ask(gateway, target).body == target.encode()


def test_body_of_a_get_changes_nothing(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = lambda asked: Page(FRESH, asked.fields.get("content-length", "none"))
    with Client(gateway.address) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: app.example\r\nContent-Length: 4\r\n\r\nevil".encode())
        assert client.final().body == b"4"
    assert ask(gateway, path).body == b"none"


def test_errors_are_not_stored(gateway: Gateway, application: Application, path: str) -> None:
    for number in (400, 403, 405, 413, 431, 500, 501, 503):
        application.pages[path] = Page(FRESH, status=number)
        assert ask(gateway, path).status == number
    application.pages[path] = Page(FRESH, "good")
    assert ask(gateway, path).body == b"good"


def test_stored_page_answers_conditions_and_ranges(gateway: Gateway, application: Application, path: str) -> None:
    fields = {**FRESH, "ETag": '"one"', "Last-Modified": "Fri, 01 Nov 2024 00:00:00 GMT", "Content-Type": "text/x"}
    application.pages[path] = Page(fields, "0123456789" * 9)
    ask(gateway, path)
    unchanged = ask(gateway, path, 'If-None-Match: W/"one"')
    assert (unchanged.status, unchanged.field("Content-Type")) == (304, None)
    assert '"one"' in (unchanged.field("ETag") or "")
    assert ask(gateway, path, "If-Modified-Since: Fri, 01 Nov 2024 00:00:00 GMT").status == 304
    assert ask(gateway, path, 'If-None-Match: "two"').status == 200
    part = ask(gateway, path, "Range: bytes=10-14")
    assert (part.status, part.body, part.field("Content-Range")) == (206, b"01234", "bytes 10-14/90")
    assert ask(gateway, path, "Range: bytes=10-14", 'If-Range: "two"').status == 200
    assert ask(gateway, path, "Range: bytes=99-").status == 416
    several = ask(gateway, path, "Range: bytes=0-0,-1")
    assert several.status == 206
    assert several.body.count(b"Content-Range: bytes ") in (1, 2)
    assert application.count(path) == 1


def test_stale_response_is_validated(gateway: Gateway, application: Application, path: str) -> None:
    def page(asked: Asked) -> Page:
        if asked.fields.get("if-none-match") == '"one"':
            return Page({**FRESH, "ETag": '"one"', "X-Round": "2"}, status=304)
        return Page({"Cache-Control": "max-age=0", "ETag": '"one"', "X-Round": "1"}, "hello")

    application.pages[path] = page
    assert ask(gateway, path).field("X-Round") == "1"
    second = ask(gateway, path)
    assert (second.status, second.body, second.field("X-Round")) == (200, b"hello", "2")
    assert status(second) == "aragora-proxy; fwd=stale; fwd-status=304"
    assert "hit" in status(ask(gateway, path))
    assert ask(gateway, path, 'If-None-Match: "one"').status == 304
    assert application.count(path) == 2


def test_validated_response_begins_its_life_anew(gateway: Gateway, application: Application, path: str) -> None:
    """However old it was when it was stored, and whether or not the 304 has a date of its own."""
    old = {"ETag": '"one"', "Age": "900", "Date": "Fri, 01 Nov 2024 00:00:00 GMT"}

    def page(asked: Asked) -> Page:
        if asked.fields.get("if-none-match"):
            return Page({**FRESH, "ETag": '"one"'}, status=304)
        return Page({**old, "Cache-Control": "max-age=0"}, "hello")

    application.pages[path] = page
    ask(gateway, path)
    assert ask(gateway, path).field("Age") == "0"
    assert "hit" in status(ask(gateway, path))
    assert application.count(path) == 2


def test_validation_that_varies_anew_fetches_anew(gateway: Gateway, application: Application, path: str) -> None:
    """Of a response that depends on cookies from now on, what is stored is for no client with a cookie."""

    def page(asked: Asked) -> Page:
        more = {"ETag": '"one"', "Vary": "Cookie"}
        if asked.fields.get("if-none-match"):
            return Page({**FRESH, **more}, status=304)
        name = asked.fields.get("cookie", "nobody")
        return Page({**FRESH, **more}, name)

    application.pages[path] = Page({"Cache-Control": "max-age=0", "ETag": '"one"'}, "nobody")
    ask(gateway, path)
    application.pages[path] = page
    assert ask(gateway, path).body == b"nobody"
    assert ask(gateway, path, "Cookie: a=1").body == b"a=1"


@pytest.mark.parametrize("accepted", ["gzip;q=0, *", "*, gzip;q=0.0", "*;q=0, br"])
def test_refused_coding_is_not_asked_for(gateway: Gateway, application: Application, path: str, accepted: str) -> None:
    application.pages[path] = Page(
        {**FRESH, "Vary": "Accept-Encoding"}, lambda fields: fields.get("accept-encoding", "none")
    )
    ask(gateway, path)
    assert b"gzip" not in ask(gateway, path, f"Accept-Encoding: {accepted}", "User-Agent: a").body


def test_stale_body_that_may_not_be_stored_is_closed(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page({"Cache-Control": "max-age=0", "ETag": '"one"'}, b"x" * 100_000)
    ask(gateway, path)

    def page(asked: Asked) -> Page:
        return Page({"Cache-Control": "private"}, "mine", status=304 if "if-none-match" in asked.fields else 200)

    application.pages[path] = page
    assert ask(gateway, path).body == b"mine"
    until(lambda: not any("objects" in file.parts for file in open_files(gateway)), "the body's file is closed")


def test_writing_makes_what_is_stored_invalid(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page(FRESH)
    for _ in range(12):  # until each worker has it in memory
        ask(gateway, path)
    ask(gateway, path, "Content-Length: 0", method="POST")
    assert "fwd=miss" in status(ask(gateway, path))
    application.pages[path] = Page(FRESH, status=403)
    ask(gateway, path, method="DELETE")
    assert "hit" in status(ask(gateway, path))


def test_write_by_a_route_that_stores_nothing_counts(application: Application, path: str, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(
        f'cache_dir = "{tmp_path}/stored"\nupstream = "{application.address}"\n'
        '[[route]]\nname = "reads"\npath = "/"\nmethod = ["GET", "HEAD"]\ncache = true\n'
        '[[route]]\nname = "writes"\npath = "/"\n'
    )
    gateway = serve(tmp_path / "gateway", "", "--config", str(file))
    try:
        application.pages[path] = Page(FRESH)
        head = f"POST {path} HTTP/1.1\r\nHost: app.example\r\n".encode()
        for rest in (
            b"Content-Length: 0\r\n\r\n",
            b"Content-Length: 4\r\n\r\nbody",
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        ):
            ask(gateway, path)
            assert "hit" in status(ask(gateway, path))
            with Client(gateway.address) as client:
                client.send(head + rest)
                written = client.final()
            assert (written.status, status(written)) == (200, "")
            assert "fwd=miss" in status(ask(gateway, path))
        assert "hit" in status(ask(gateway, path))
        assert status(ask(gateway, path, method="OPTIONS")) == ""
        application.pages[path] = Page(FRESH, status=403)
        assert ask(gateway, path, method="DELETE").status == 403
        assert "hit" in status(ask(gateway, path))
    finally:
        gateway.close()


def test_page_from_before_a_write_is_not_stored_after_it(gateway: Gateway, application: Application, path: str) -> None:
    """Its request came to the application before the write, and its response to the gateway after that."""
    written = threading.Event()

    def page(asked: Asked) -> Page:
        if asked.method == "POST":
            return Page(status=204)
        if not written.is_set():
            assert written.wait(PATIENCE)
            return Page(FRESH, "old")
        return Page(FRESH, "new")

    application.pages[path] = page
    with Client(gateway.address) as earlier:
        earlier.send(f"GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n".encode())
        until(lambda: application.count(path) == 1, "the earlier request is with the application")
        ask(gateway, path, "Content-Length: 0", method="POST")
        written.set()
        assert earlier.final().body == b"old"
    for _ in range(6):  # of both workers
        assert ask(gateway, path).body == b"new"


def test_write_that_is_answered_with_a_file_counts(gateway: Gateway, application: Application, path: str) -> None:
    file = gateway.directory / "answer"
    file.write_text("done")

    def page(asked: Asked) -> Page:
        return Page({"X-Sendfile": str(file)}) if asked.method == "POST" else Page(FRESH)

    application.pages[path] = page
    ask(gateway, path)
    assert "hit" in status(ask(gateway, path))
    assert ask(gateway, path, "Content-Length: 0", method="POST").body == b"done"
    assert "fwd=miss" in status(ask(gateway, path))


def test_chunked_and_long_bodies_are_stored_whole(gateway: Gateway, application: Application, path: str) -> None:
    for number, (text, chunked) in enumerate([(b"abc" * 9, True), (b"abc" * 100_000, False), (b"", False)]):
        target = f"{path}{number}x"
        application.pages[target] = Page({**FRESH, "Content-Type": "image/x"}, text, chunked=chunked)
        assert [ask(gateway, target).body for _ in range(3)] == [text] * 3
        assert application.count(target) == 1
    assert ask(gateway, f"{path}1x", "Range: bytes=3-5").body == b"abc"


def test_filters_of_responses_apply_to_each_client(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page({**FRESH, "Content-Type": "text/plain"}, "a" * 4000)
    for _ in range(2):
        assert ask(gateway, path).field("Access-Control-Allow-Origin") is None
        coded = ask(gateway, path, "Accept-Encoding: gzip")
        assert coded.field("Content-Encoding") == "gzip"
        assert ask(gateway, path).body == b"a" * 4000


@pytest.mark.parametrize("size", [4_000, 400_000])
def test_encoded_form_is_made_once(gateway: Gateway, application: Application, path: str, size: int) -> None:
    """And for all workers: its bytes are the same, which those of another making need not be."""
    text = "".join(hex(number) for number in range(size // 6))
    application.pages[path] = Page(
        {**FRESH, "Content-Type": "text/plain", "ETag": '"a"', "Vary": "Accept-Encoding"}, text
    )
    ask(gateway, path)  # learns that the resource varies by the coding
    stored = Path(gateway.directory, "stored", "objects")
    for _ in range(2):
        ask(gateway, path, "Accept-Encoding: gzip")
    before = sum(file.is_file() for file in stored.rglob("*"))
    answers = [ask(gateway, path, "Accept-Encoding: gzip", f"Cookie: a={number}") for number in range(8)]
    for answer in answers:
        assert gzip.decompress(answer.body).decode() == text
        assert answer.field("Content-Length") == str(len(answer.body))
        assert answer.field("ETag") == 'W/"a"'
        assert ("Vary", "Accept-Encoding") in answer.fields
        assert "; hit" in status(answer)
    assert len({answer.body for answer in answers}) == 1
    assert sum(file.is_file() for file in stored.rglob("*")) == before
    assert ask(gateway, path, "Accept-Encoding: gzip", 'If-None-Match: W/"a"').status == 304
    assert ask(gateway, path, "Accept-Encoding: gzip", "Range: bytes=0-1").body == b"0x"
    head = ask(gateway, path, "Accept-Encoding: gzip", method="HEAD")
    assert (head.field("Content-Encoding"), head.field("ETag")) == ("gzip", 'W/"a"')
    plain = ask(gateway, path, "Accept-Encoding: identity;q=1")
    assert (plain.body.decode(), plain.field("ETag"), plain.field("Content-Encoding")) == (text, '"a"', None)
    application.pages[path] = Page({**FRESH, "Content-Type": "text/plain"}, "new" * 1000)
    ask(gateway, path, "Content-Length: 0", method="POST")
    for _ in range(4):
        assert gzip.decompress(ask(gateway, path, "Accept-Encoding: gzip").body) == b"new" * 1000


def test_pages_with_the_same_fields_have_their_own_lengths(
    gateway: Gateway, application: Application, path: str
) -> None:
    pages = {f"{path}.{length}": "x" * length for length in (1, 2, 3, 2000, 3000)}
    fields = {**FRESH, "Content-Type": "text/plain"}
    application.pages |= {target: Page(fields, text) for target, text in pages.items()}
    for _ in range(4):
        for target, text in pages.items():
            assert ask(gateway, target).body.decode() == text
            answer = ask(gateway, target, "Accept-Encoding: gzip")
            coded = answer.field("Content-Encoding") == "gzip"
            assert coded == (len(text) > 1000)
            assert (gzip.decompress(answer.body) if coded else answer.body).decode() == text
            assert ask(gateway, target, method="HEAD").field("Content-Length") == str(len(text))


def test_stored_alone_is_a_miss_or_a_hit(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page(FRESH)
    assert ask(gateway, path, "Cache-Control: only-if-cached").status == 504
    assert "stored" not in status(ask(gateway, path, "Cache-Control: no-store"))
    ask(gateway, path)
    assert ask(gateway, path, "Cache-Control: only-if-cached").status == 200
    assert "hit" in status(ask(gateway, path, "Cache-Control: no-cache"))


def test_log_says_that_the_cache_answered(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page(FRESH)
    ask(gateway, path)
    ask(gateway, path)
    until(lambda: any(line.get("upstream") == "cache" for line in gateway.logged()), "the line of the hit")


def together(gateway: Gateway, targets: list[str]) -> list[Answer]:
    """The responses to requests of several clients, all sent before the first response is read."""
    clients = [Client(gateway.address) for _ in targets]
    for number, (client, target) in enumerate(zip(clients, targets, strict=True)):
        client.send(f"GET {target} HTTP/1.1\r\nHost: app.example\r\nUser-Agent: {number}\r\n\r\n".encode())
    answers = [client.final() for client in clients]
    for client in clients:
        client.sock.close()
    return answers


def test_one_request_asks_for_all(gateway: Gateway, application: Application, path: str) -> None:
    """In two workers: the first tells what the page depends on, the second is for all that differ in nothing else."""
    application.pages[path] = Page(FRESH, "hello")
    answers = together(gateway, [path] * 20)
    assert [answer.body for answer in answers] == [b"hello"] * 20
    assert application.count(path) == 2


def test_same_requests_ask_once(gateway: Gateway, application: Application, path: str) -> None:
    application.pages[path] = Page(FRESH, "hello")
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(gateway.address)) for _ in range(20)]
        for client in clients:
            client.send(f"GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n".encode())
        assert [client.final().body for client in clients] == [b"hello"] * 20
    assert application.count(path) == 1


def test_unstored_responses_hold_up_no_others(gateway: Gateway, application: Application, path: str) -> None:
    """Once it is known that the first may not be stored, all others are with the application at the same time."""
    others = threading.Barrier(5)

    def page(asked: Asked) -> Page:
        if application.count(path) > 1:
            others.wait(PATIENCE)
        return Page({"Cache-Control": "no-store"}, "hello")

    application.pages[path] = page
    assert [answer.body for answer in together(gateway, [path] * 6)] == [b"hello"] * 6


def test_file_that_a_client_takes_holds_up_no_others(gateway: Gateway, application: Application, path: str) -> None:
    """A file that the application names is not stored: others for it ask at once, however slow the first client is."""
    file = gateway.directory / "large"
    with file.open("wb") as opened:
        opened.truncate(32 << 20)
    application.pages[path] = Page({**FRESH, "X-Sendfile": str(file)})
    with Client(gateway.address) as slow, Client(gateway.address) as other:
        for client in (slow, other):
            client.send(f"GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n".encode())
        until(lambda: application.count(path) == 2, "both are with the application")


def test_stale_page_is_sent_while_it_is_fetched(gateway: Gateway, application: Application, path: str) -> None:
    fields = {"Cache-Control": "max-age=0, stale-while-revalidate=600"}
    application.pages[path] = Page(fields, "one")
    assert ask(gateway, path).body == b"one"
    fetched = threading.Event()

    def page(asked: Asked) -> Page:
        fetched.wait(PATIENCE)
        return Page({**fields, **FRESH}, "two")

    application.pages[path] = page
    stale = [ask(gateway, path) for _ in range(5)]
    assert [answer.body for answer in stale] == [b"one"] * 5
    assert status(stale[0]) == "aragora-proxy; hit; ttl=0"
    fetched.set()
    until(lambda: ask(gateway, path).body == b"two", "the newer page is stored")
    assert application.count(path) == 2


@pytest.mark.parametrize("failure", [500, 503, 504, 0], ids=str)
def test_stale_page_stands_in_for_errors(gateway: Gateway, application: Application, path: str, failure: int) -> None:
    application.pages[path] = Page({"Cache-Control": "max-age=0, stale-if-error=600"}, "good")
    ask(gateway, path)
    application.pages[path] = Page(status=failure)  # 0: the connection ends without a response
    answer = ask(gateway, path)
    assert (answer.status, answer.body) == (200, b"good")
    assert status(answer).startswith("aragora-proxy; fwd=stale; ")
    application.pages[path] = Page(text="new")
    assert ask(gateway, path).body == b"new"


def test_must_revalidate_forbids_stale_pages(gateway: Gateway, application: Application, path: str) -> None:
    fields = {"Cache-Control": "max-age=0, stale-if-error=600, stale-while-revalidate=600, must-revalidate"}
    application.pages[path] = Page({**fields, "ETag": '"one"'}, "good")
    ask(gateway, path)
    application.pages[path] = Page(status=503)
    assert ask(gateway, path).status == 503


def test_stale_page_is_sent_at_once_while_nothing_listens(path: str, tmp_path: Path) -> None:
    application = Application()
    application.pages[path] = Page({"Cache-Control": "max-age=0", "Connection": "close"}, "good")
    flags = ("--cache", "on", "--cache-dir", str(tmp_path / "stored"), "--cache-stale-if-error", "1h")
    gateway = serve(tmp_path / "gateway", application.address, *flags, "--retry-wait", "1h")
    try:
        assert ask(gateway, path).body == b"good"
        application.close()
        answer = ask(gateway, path)
        assert (answer.status, answer.body) == (200, b"good")
        assert status(answer) == "aragora-proxy; fwd=stale; detail=unavailable"
    finally:
        gateway.close()


def test_restart_keeps_what_is_stored(application: Application, path: str, tmp_path: Path) -> None:
    application.pages[path] = Page(FRESH, "x" * 100_000)
    (port,) = ports(1)
    toml = (
        f'bind = "127.0.0.1:{port}"\nadmin = "off"\nworkers = 1\nupstream = "{application.address}"\n'
        f'cache = true\nstate_dir = "{tmp_path}/state"\naccess_log = "off"\n'
    )
    for number in range(2):
        gateway = Gateway(tmp_path / str(number), toml=toml)
        try:
            (gateway.address,) = gateway.announced(1)
            assert ask(gateway, path).body == b"x" * 100_000
        finally:
            gateway.close()
    assert application.count(path) == 1
