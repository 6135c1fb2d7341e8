"""Fields of a request that a route sets: what stands for a placeholder, and that nobody else can say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange.request import Request
from proxy.filters.header_fields import RequestFieldRewrite
from proxy.settings.values.field_lines import OF_REQUESTS
from proxy.settings.values.template import PLACEHOLDERS
from proxy.wire.route_path import RoutePath
from tests.proxy.filters.requests import asked

BLOCK = b"Host: example.org\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-User: ann\r\nX-Team: red\r\n"


def request(target: str = "/app/a?b=c", block: bytes = BLOCK, **known: str | bytes | None) -> Request:
    made = asked(target, **known)  # type: ignore[arg-type]
    made.block = block
    made.id = b"id-1"
    return made


def changed(made: Request, setting: dict[str, str], *removing: str) -> list[bytes]:
    changes = RequestFieldRewrite(OF_REQUESTS.read(setting), removing, RoutePath(b"/app"), "127.0.0.1:8080")
    return changes.apply(made, made.block.split(b"\r\n")[:-1])


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("{user}", b"ann"),
        ("{client}", b"192.0.2.1"),
        ("{scheme}://{host}{path}{query}", b"http://example.org/app/a?b=c"),
        ("{rest}", b"/a"),
        ("{method} {request_id}", b"GET id-1"),
        ("{upstream}", b"127.0.0.1:8080"),
        ("user={user}; from={client}", b"user=ann; from=192.0.2.1"),
        ("{{usr}} {} { user } {{user}} {{{user}}}", b"{usr} {} { user } {user} {{user}}"),
        ('{"a": "b"}', b'{"a": "b"}'),
        ("plain", b"plain"),
        ("", b""),
    ],
)
def test_a_value_names_parts_of_the_request(value: str, sent: bytes) -> None:
    assert changed(request(), {"X-Told": value})[-1] == b"X-Told: " + sent


def test_the_host_has_no_port_and_a_query_may_be_missing() -> None:
    found = changed(
        request("/app", host=b"[::1]:8443"), {"X-Host": "{host}", "X-Url": "{path}{query}", "X-Rest": "{rest}"}
    )
    assert found[-3:] == [b"X-Host: [::1]", b"X-Url: /app", b"X-Rest: /"]


@pytest.mark.parametrize("value", ["{user}", "Bearer {user}"])
def test_what_is_not_known_is_not_said_by_anybody(value: str) -> None:
    stranger = b"Host: a\r\nX-Webauth-User: forged\r\nX_Webauth_User: forged\r\nx-webauth_user: forged\r\nA: 1\r\n"
    assert changed(request(block=stranger), {"X-WEBAUTH-USER": value}) == [b"Host: a", b"A: 1"]
    unnamed = request(block=stranger, client="", host=None)
    assert changed(unnamed, {"X-A": "{client}", "X-B": "{host}"}, "x-webauth-user") == [b"Host: a", b"A: 1"]


@pytest.mark.parametrize(
    ("value", "host"), [("app.internal:8080", b"app.internal:8080"), ("{upstream}", b"127.0.0.1:8080")]
)
def test_the_host_that_the_upstream_is_asked_for(value: str, host: bytes) -> None:
    found = changed(request(), {"Host": value})
    assert found[0] == b"Host: " + host
    assert [line for line in found if line.lower().startswith(b"host:")] == found[:1]
    assert found[1:] == BLOCK.split(b"\r\n")[1:-1]


def test_fields_of_the_gateway_that_may_be_set() -> None:
    setting = {
        "X-Forwarded-Prefix": "/outside",
        "X-Forwarded-Ssl": "on",
        "X-Forwarded-Server": "edge-1",
        "X-Team": "blue",
    }
    found = changed(request(), setting)
    assert found[-4:] == [f"{name}: {value}".encode() for name, value in setting.items()]
    assert b"X-Team: red" not in found


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="{}"), max_size=8)


@given(TEXTS, st.sampled_from(PLACEHOLDERS), st.binary(max_size=20), st.binary(max_size=20))
def test_no_part_of_a_request_ends_a_line(text: str, name: str, target: bytes, user: bytes) -> None:
    """Whatever came through the front: a target of visible characters, and what a gate put into the block."""
    visible = bytes(byte for byte in target if 0x21 <= byte < 0x7F and byte != 0x23)
    user = bytes(byte for byte in user if byte not in b"\r\n\0")
    made = request("/" + visible.decode(), b"Host: a\r\nX-Forwarded-User: " + user + b"\r\n")
    try:
        setting = OF_REQUESTS.read({"X-Told": f"{text}{{{name}}}"})
    except ValueError:
        return
    found = RequestFieldRewrite(setting, (), RoutePath(b"/"), "[::1]:80").apply(made, made.block.split(b"\r\n")[:-1])
    assert len(found) in (2, 3)
    assert all(b"\r" not in line and b"\n" not in line for line in found)
