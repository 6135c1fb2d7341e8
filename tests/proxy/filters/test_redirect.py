"""Redirects: the address is the template's, whatever the request tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.filters.redirect import Redirect, Slash
from proxy.settings.values.template import ADDRESS
from proxy.wire.route_path import RoutePath
from tests.proxy.filters.requests import asked


def location(template: str, target: bytes, host: bytes | None = b"example.org", prefix: bytes = b"") -> bytes:
    answer = Redirect(ADDRESS.read(template), 308, RoutePath(prefix)).check(asked(target.decode(), host=host))
    assert answer.status == 308
    (line,) = answer.fields
    assert line.startswith(b"Location: ")
    return line[10:]


@pytest.mark.parametrize(
    ("template", "target", "prefix", "found"),
    [
        ("https://{host}{path}{query}", b"/a?b=1", b"", b"https://example.org/a?b=1"),
        ("https://new.example{path}", b"/a?b=1", b"", b"https://new.example/a"),
        ("{scheme}://{host}:8443{path}", b"/a", b"", b"http://example.org:8443/a"),
        ("/new{rest}{query}", b"/old/a?b", b"/old", b"/new/a?b"),
        ("/new{rest}", b"/old", b"/old", b"/new/"),
        ("https://new.example{rest}", b"/%6fld/a", b"/old", b"https://new.example/a"),
        ("https://www.{host}/", b"/a", b"", b"https://www.example.org/"),
        ("/", b"*", b"", b"/"),
        ("{path}x", b"//evil.example/", b"", b"/evil.example/x"),
        ("{path}x", b"/\\evil.example/", b"", b"/evil.example/x"),
        ("/{path}", b"//evil.example/", b"", b"/evil.example/"),
        ("{rest}", b"/old//evil.example", b"/old", b"/evil.example"),
        ("https://new.example{rest}", b"/old//evil.example/x", b"/old", b"https://new.example/evil.example/x"),
        ("{rest}", b"/old/%2f\\evil.example", b"/old", b"/evil.example"),
    ],
)
def test_templates(template: str, target: bytes, prefix: bytes, found: bytes) -> None:
    assert location(template, target, prefix=prefix) == found


def test_request_port_is_dropped_when_the_scheme_changes() -> None:
    assert location("https://{host}{path}", b"/a", b"example.org:8080") == b"https://example.org/a"
    assert location("https://{host}{path}", b"/a", b"[::1]:8080") == b"https://[::1]/a"
    assert location("https://{host}{path}", b"/a", b"[::1]") == b"https://[::1]/a"


def test_a_host_is_needed_where_the_template_names_it() -> None:
    with pytest.raises(ExchangeError) as refusal:
        location("https://{host}/", b"/", None)
    assert refusal.value.failure.status == 400
    assert location("/there", b"/", None) == b"/there"


@pytest.mark.parametrize(
    ("template", "fix"),
    [
        ("https://{user}.example/", "{user} is part of the host, which a client could choose then; only {host} may be"),
        ("https://a.{host}{user}.b/", "{user} is part of the host"),
        ("ftp://example.org/", "expected a URL"),
        ("example.org", "expected a URL"),
        ("https://{path}", "expected a URL"),
        ("https://example.org@{host}/", "expected a URL"),
        ("https://example.org/ x", "expected a URL"),
        ("https://example.org/\r\nSet-Cookie: a", "expected a URL"),
        ("https://example.org/{", "brace"),
    ],
)
def test_templates_that_cannot_be_used(template: str, fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        ADDRESS.read(template)


@pytest.mark.parametrize(
    ("mount", "target", "place"),
    [
        (b"/gl", "/gl", b"/gl/"),
        (b"/gl/", "/gl", b"/gl/"),
        (b"/gl", "/gl?a=b&c=//evil.example", b"/gl/?a=b&c=//evil.example"),
        (b"/gl", "/gl?", b"/gl/?"),
        (b"/gl", "//gl", b"/gl/"),
        (b"/gl", "/%67l?x", b"/gl/?x"),
        (b"/a/b", "/a//b", b"/a/b/"),
        (b"/a/b", "/a%2Fb", b"/a/b/"),
        (b"/\\evil.example", "/\\evil.example", b"/%5Cevil.example/"),
        (b"/gl", "/gl/", None),
        (b"/gl", "/gl%2F", None),
        (b"/gl", "/gl/x", None),
        (b"/gl", "/glx", None),
        (b"/gl", "/gl;x", None),
    ],
)
def test_a_mount_point_is_asked_for_with_its_slash(mount: bytes, target: str, place: bytes | None) -> None:
    for method in (b"GET", b"HEAD"):
        answer = Slash(RoutePath(mount)).check(asked(target, method=method))
        assert (answer.status, answer.fields) == (308, (b"Location: " + place,)) if answer else place is None


def test_what_a_browser_does_not_follow_is_not_redirected() -> None:
    assert Slash(RoutePath(b"/gl")).check(asked("/gl", method=b"POST")) is None
    assert Slash(RoutePath(b"/gl")).check(asked("*", method=b"OPTIONS")) is None
    socket = asked("/gl")
    socket.upgrade = b"websocket"
    assert Slash(RoutePath(b"/gl")).check(socket) is None


@given(st.text("/\\gl%26;.?&=:@", max_size=16))
def test_no_spelling_of_a_mount_point_leads_elsewhere(rest: str) -> None:
    answer = Slash(RoutePath(b"/gl")).check(asked("/" + rest))
    assert answer is None or answer.fields[0].partition(b"?")[0] == b"Location: /gl/"
