"""Addresses of an application that is mounted below a path."""

from typing import Any

import pytest

from proxy.errors import ExchangeError
from proxy.filters.mount import Mount
from proxy.filters.rewrite import mount_of
from proxy.settings import Peer, Settings
from proxy.wire.route_path import RoutePath
from tests.proxy.filters.requests import asked

USERS = RoutePath(b"/u/{name}/")


def told(line: bytes, target: str = "/app/a", path: RoutePath | None = None, host: bytes = b"") -> bytes:
    (found,) = Mount(path or RoutePath(b"/app"), host).response([line], asked(target))
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Location: /", b"Location: /app/"),
        (b"location:/x?y=/z#a", b"location: /app/x?y=/z#a"),
        (b"Location: /app", b"Location: /app"),
        (b"Location: /app/x", b"Location: /app/x"),
        (b"Location: /app?x", b"Location: /app?x"),
        (b"Location: /apple", b"Location: /app/apple"),
        (b"Location: x/y", b"Location: x/y"),
        (b"Location: ?page=2", b"Location: ?page=2"),
        (b"Location: ../x", b"Location: ../x"),
        (b"Location: ", b"Location: "),
        (b"Location: //cdn.example/x", b"Location: //cdn.example/x"),
        (b"Location: /\\cdn.example/x", b"Location: /\\cdn.example/x"),
        (b"Location: https://other.example/x", b"Location: https://other.example/x"),
        (b"Location: mailto:x@example.org", b"Location: mailto:x@example.org"),
        (b"Location: HTTPS://EXAMPLE.ORG/x", b"Location: HTTPS://EXAMPLE.ORG/app/x"),
        (b"Location: http://example.org:80/app/x", b"Location: http://example.org:80/app/x"),
        (b"Location: http://example.org", b"Location: http://example.org/app/"),
        (b"Location: http://example.org?x", b"Location: http://example.org/app/?x"),
        (b"Location: http://example.org:81/x", b"Location: http://example.org:81/x"),
        (b"Location: http://example.org@evil.example/x", b"Location: http://example.org@evil.example/x"),
        (b"Content-Location: /x", b"Content-Location: /app/x"),
        (b"Refresh: 5", b"Refresh: 5"),
        (b"Refresh: 0; url=/x", b"Refresh: 0; url=/app/x"),
        (b"Refresh: 0;URL='/x'", b"Refresh: 0;URL='/app/x'"),
        (b"Refresh: 1.5, https://example.org/x", b"Refresh: 1.5, https://example.org/app/x"),
        (b"Refresh: 0; url=https://other.example/", b"Refresh: 0; url=https://other.example/"),
        (b"Set-Cookie: a=1; Path=/; Secure", b"Set-Cookie: a=1; Path=/app; Secure"),
        (b"Set-Cookie: a=path=/; path = /x ;HttpOnly", b"Set-Cookie: a=path=/; path =/app/x;HttpOnly"),
        (b"Set-Cookie: a=1; Path=/app/x", b"Set-Cookie: a=1; Path=/app/x"),
        (b"Set-Cookie: a=1", b"Set-Cookie: a=1"),
        (b"Set-Cookie: a=1; Path=x", b"Set-Cookie: a=1; Path=x"),
        (b"Set-Cookie: __Host-a=1; Secure; Path=/", b"Set-Cookie: __Host-a=1; Secure; Path=/"),
        (b"Link: </x>", b"Link: </x>"),
    ],
)
def test_addresses_in_responses_get_the_prefix(line: bytes, expected: bytes) -> None:
    assert told(line) == expected


def test_the_prefix_of_a_pattern_is_the_requests() -> None:
    assert told(b"Location: /x", "/u/a%20b/c", USERS) == b"Location: /u/a%20b/x"
    assert told(b"Set-Cookie: a=1; Path=/", "/u/ann/", USERS) == b"Set-Cookie: a=1; Path=/u/ann"


def test_the_applications_own_host_is_not_told() -> None:
    sent = b"Location: http://127.0.0.1:8080/x"
    assert told(sent, host=b"127.0.0.1:8080") == b"Location: http://example.org/app/x"
    assert told(sent) == sent


@pytest.mark.parametrize(
    "told_host",
    [
        {"upstream_host": "upstream"},
        {"upstream_host": "127.0.0.1:8080"},
        {"set_request_fields": (("Host", "{upstream}"),)},
    ],
)
def test_each_way_to_set_the_host_is_mapped_back(told_host: dict[str, Any]) -> None:
    settings = Settings(strip_prefix=True, upstream=(Peer.parse("127.0.0.1:8080"),), **told_host)
    mount = mount_of(settings, RoutePath(b"/app"))
    assert mount is not None
    found = mount.response([b"Location: http://127.0.0.1:8080/x"], asked("/app/a"))
    assert found == [b"Location: http://example.org/app/x"]


def test_a_request_about_the_whole_server_has_no_prefix() -> None:
    assert told(b"Location: /x", "*") == b"Location: /x"


def sent(value: bytes, path: RoutePath | None = None, target: str = "/app/a") -> bytes:
    lines = [b"Host: example.org", b"Destination: " + value]
    return Mount(path or RoutePath(b"/app"), b"").destination(lines, asked(target))[1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"/app/b", b"/b"),
        (b"/app", b"/"),
        (b"http://example.org/app/b%20c", b"http://example.org/b%20c"),
        (b"http://EXAMPLE.org:80/%61pp/b", b"http://EXAMPLE.org:80/b"),
        (b"https://other.example/b", b"https://other.example/b"),
    ],
)
def test_destinations_lose_the_prefix(value: bytes, expected: bytes) -> None:
    assert sent(value) == b"Destination: " + expected


def test_destinations_below_a_pattern() -> None:
    assert sent(b"/u/ann/b", USERS, "/u/ann/a") == b"Destination: /b"
    with pytest.raises(ExchangeError):
        sent(b"/u/bob/b", USERS, "/u/ann/a")


@pytest.mark.parametrize("value", [b"/b", b"/apple/b", b"http://example.org/b", b"b", b"", b"http://example.org"])
def test_destinations_outside_are_refused(value: bytes) -> None:
    with pytest.raises(ExchangeError) as refusal:
        sent(value)
    assert (refusal.value.failure.status, refusal.value.failure.reason) == (502, "destination")
