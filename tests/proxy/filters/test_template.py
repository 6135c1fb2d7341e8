"""What stands for a placeholder, by where the text goes."""

import html
import json
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.filters.target import TargetRewrite
from proxy.filters.template import Template, escape_for, for_address
from proxy.filters.text import FixedText
from proxy.wire.route_path import RoutePath
from tests.proxy.filters.requests import asked

USERS = RoutePath(b"/users/{name}")


def rewritten(template: str, target: str, path: RoutePath = USERS) -> bytes:
    return TargetRewrite(template, path, "127.0.0.1:1").target(asked(target))


@pytest.mark.parametrize(
    ("template", "target", "sent"),
    [
        ("/new/{name}{rest}", "/users/ann/photos?a=b", b"/new/ann/photos?a=b"),
        ("/new/{name}{rest}", "/users/ann", b"/new/ann"),
        ("/new/{name}{rest}", "/users/ann/", b"/new/ann/"),
        ("/new/{name}{rest}", "/users/ann?", b"/new/ann?"),
        ("/new?id={name}", "/users/ann?a=b", b"/new?id=ann"),
        ("/new{query}&id={name}", "/users/ann?a=b", b"/new?a=b&id=ann"),
        ("{rest}", "/users/ann", b"/"),
        ("{rest}", "/users/ann//evil.example", b"/evil.example"),
        ("{path}/x", "//users/ann", b"/users/ann/x"),
        ("/{name}", "/users/%5Cevil.example", b"/%5Cevil.example"),
        ("/{name}", "/users/a%3Fb%23c%25%C3%A9", b"/a%3Fb%23c%25%C3%A9"),
        ("/{name}", "/users/a%2Fb", b"/a"),
        ("/{host}/{method}", "/users/ann", b"/example.org/GET"),
    ],
)
def test_target_for_the_upstream(template: str, target: str, sent: bytes) -> None:
    assert rewritten(template, target) == sent


def test_no_part_of_a_target_becomes_a_dot_segment() -> None:
    for template, target in (
        ("/a/{name}/b", "/x.."),
        ("/a/{name}/b", "/x../a/../b"),
        ("/.{name}", "/x;a"),
        ("/{name}", "/x..;"),
    ):
        with pytest.raises(ExchangeError) as refusal:
            rewritten(template, target, RoutePath(b"/x{name}"))
        assert refusal.value.failure.reason == "target_path"
    assert rewritten("/{path}", "/users/../ann") == b"/users/../ann"


def test_request_without_a_value_is_not_rewritten() -> None:
    with pytest.raises(ExchangeError) as refusal:
        rewritten("/home/{user}{rest}", "/users/ann")
    assert refusal.value.failure.status == 403


@given(st.binary(min_size=1, max_size=12), st.sampled_from(["/{name}", "/a/{name}{rest}", "{rest}", "/x{path}"]))
def test_a_rewritten_target_is_one_path(data: bytes, template: str) -> None:
    target = "/users/a" + "".join(f"%{byte:02X}" for byte in data if byte > 31)
    try:
        found = rewritten(template, target)
    except ExchangeError:
        return
    assert found.startswith(b"/")
    assert not found.startswith((b"//", b"/\\"))
    assert all(0x21 <= byte < 0x7F and byte != 0x3F for byte in found)


@pytest.mark.parametrize(
    ("content_type", "text", "sent"),
    [
        ("text/plain; charset=utf-8", "{path} {{path}}", "/users/<a>\"&' {path}"),
        ("text/html", '<a href="{path}">', '<a href="/users/&lt;a&gt;&quot;&amp;&#x27;">'),
        ("application/problem+json", '{"p": "{path}", "q": {"r": {}}}', '{"p": "/users/<a>\\"&\'", "q": {"r": {}}}'),
        ("application/xml", "<p>{rest}{user}</p>", "<p>/</p>"),
        ("text/css", "a{color:red} b{}", "a{color:red} b{}"),
    ],
)
def test_text_is_escaped_for_its_type(content_type: str, text: str, sent: str) -> None:
    made = FixedText(Template(text, USERS, "", escape_for(content_type)), 200, content_type)
    response = made.check(asked("/users/<a>\"&'"))
    assert response.body == sent.encode()


@given(st.binary(max_size=20))
def test_documents_stay_what_they_are(user: bytes) -> None:
    request = asked("/users/ann")
    request.block = b"X-Forwarded-User: " + bytes(byte for byte in user if byte not in b"\r\n") + b"\r\n"
    document = Template('{"user": "{user}"}', USERS, "", escape_for("application/json")).filled(request, b"")
    assert document is not None
    assert list(json.loads(document)) == ["user"]
    page = Template("{user}", USERS, "", escape_for("text/html")).filled(request, b"")
    assert page is not None
    assert not set(html.unescape(page.decode())) & {"\r", "\n"}
    assert not any(byte in page for byte in b"<>\"'")
    address = Template("https://a.example/{user}", USERS, "", for_address).filled(request, b"")
    assert address is not None
    parts = urlsplit(address.decode("ascii"))
    assert (parts.netloc, parts.path.count("/"), parts.query, parts.fragment) == ("a.example", 1, "", "")
