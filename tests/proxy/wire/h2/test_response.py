"""Responses as field sections of HTTP/2."""

import pytest

from proxy.wire.h2 import response as module
from proxy.wire.h2.response import CONTINUE, response_section, section_of, upgrade_section
from proxy.wire.response import parse_response_head


def test_a_response_is_lower_cased_and_dated() -> None:
    response = parse_response_head(b"HTTP/1.1 200 OK\r\nX-Thing:  1 \r\nSet-Cookie: a=b\r\nConnection: close")
    assert response_section(response, 5, b"now") == (
        (b":status", b"200"),
        (b"x-thing", b"1"),
        (b"set-cookie", b"a=b"),
        (b"content-length", b"5"),
        (b"date", b"now"),
    )


def test_a_response_may_have_nothing_but_its_status() -> None:
    assert response_section(parse_response_head(b"HTTP/1.1 204 No Content"), None, None) == ((b":status", b"204"),)
    assert CONTINUE == ((b":status", b"100"),)


def test_the_same_head_makes_the_same_section() -> None:
    """Encoders know a section by its identity; nobody can change it, so that no field turns up in another response."""
    response = parse_response_head(b"HTTP/1.1 200 OK\r\nX-Shared: 1")
    first, second = (response_section(response, 5, b"then") for _ in range(2))
    assert first is second
    assert isinstance(first, tuple)
    assert response_section(response, 6, b"then") != first


def test_cookies_are_not_remembered() -> None:
    response = parse_response_head(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d")
    first, second = (response_section(response, 5, b"then") for _ in range(2))
    assert first is not second
    assert first == second
    assert not [line for line in module._known_lines if line.startswith(b"Set-Cookie")]


@pytest.mark.parametrize("name", [b"Authorization", b"cookie", b"Proxy-Authorization", b"Set-Cookie"])
def test_lines_with_secrets_are_not_remembered(name: bytes) -> None:
    line = name + b": secret"
    assert section_of([line]) == ((name.lower(), b"secret"),)
    assert line not in module._known_lines


def test_trailers_are_fields_too() -> None:
    assert section_of([b"X-Sum: 1", b"Content-Digest:d"]) == ((b"x-sum", b"1"), (b"content-digest", b"d"))


def test_an_upgrade_is_answered_without_its_key() -> None:
    switched = parse_response_head(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat"
    )
    assert upgrade_section(switched) == ((b":status", b"200"), (b"sec-websocket-protocol", b"chat"))


def test_what_is_remembered_is_bounded() -> None:
    for number in range(5000):
        name, value = b"x-bounded-%d" % number, b"%d" % number
        response = parse_response_head(b"HTTP/1.1 200 OK\r\n" + name + b": " + value)
        assert response_section(response, None, None) == ((b":status", b"200"), (name, value))
        assert response_section(response, None, None) is response_section(response, None, None)
    assert len(module._known_sections) <= 512
    assert len(module._known_lines) <= 4096
    long = parse_response_head(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 2000)
    response_section(long, None, None)
    assert (long.start, None, None) not in module._known_sections
