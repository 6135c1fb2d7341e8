"""Each kind of value: what it reads, and that what it refuses is told the mend."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.values import Address, Peer, logged, web
from proxy.settings.values import kinds as values
from proxy.settings.values.redis import REDIS


@pytest.mark.parametrize(
    ("text", "shown", "family", "sockaddr"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8000", socket.AF_INET, ("127.0.0.1", 8000)),
        ("0.0.0.0:80", "0.0.0.0:80", socket.AF_INET, ("0.0.0.0", 80)),
        (":8000", "127.0.0.1:8000", socket.AF_INET, ("127.0.0.1", 8000)),
        ("localhost:8000", "127.0.0.1:8000", socket.AF_INET, ("127.0.0.1", 8000)),
        ("[::1]:8000", "[::1]:8000", socket.AF_INET6, ("::1", 8000)),
        ("[0:0::0:1]:8000", "[::1]:8000", socket.AF_INET6, ("::1", 8000)),
        ("App.Internal:8080", "app.internal:8080", socket.AF_UNSPEC, ("app.internal", 8080)),
        ("unix:/run/app.sock", "unix:/run/app.sock", socket.AF_UNIX, "/run/app.sock"),
        ("unix:///run/app.sock", "unix:/run/app.sock", socket.AF_UNIX, "/run/app.sock"),
        ("unix:@app", "unix:@app", socket.AF_UNIX, "\0app"),
    ],
)
def test_an_address_is_read_and_shown(text: str, shown: str, family: int, sockaddr: object) -> None:
    address = Address.parse(text)
    assert (str(address), address.family, address.sockaddr) == (shown, family, sockaddr)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+80",
        "127.0.0.1:٣",
        "::1:8000",
        "[::1]",
        "[::g]:80",
        "256.0.0.1:80",
        "1.2.3:80",
        "a b:80",
        "-a:80",
        "a..b:80",
        "unix:",
        "unix:@",
        "unix:/a\0b",
        "unix:/" + "x" * 107,
        "http://a:80",
        "a/b:80",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Address.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except ValueError:
        return
    assert Address.parse(str(address)) == address


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert [Address.parse(text).loopback for text in ("127.8.8.8:1", "[::1]:1", "unix:/x", "0.0.0.0:1", "name:1")] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (values.SIZE, "64k", 65536),
        (values.SIZE, "50M", 50 << 20),
        (values.SIZE, "1g", 1 << 30),
        (values.SIZE, 7, 7),
        (values.SIZE, "0", 0),
        (values.SIZE, "12 b", 12),
        (values.SIZE, "off", 0),
        (values.SIZE, False, 0),
        (values.LIMIT, "50m", 50 << 20),
        (values.LIMIT, 0, values.NO_LIMIT),
        (values.LIMIT, "0k", values.NO_LIMIT),
        (values.LIMIT, "off", values.NO_LIMIT),
        (values.LIMIT, False, values.NO_LIMIT),
        (values.BOUND, 1, 1),
        (values.DURATION, "off", 0.0),
        (values.DURATION, False, 0.0),
        (web.NUMBER, "off", 0),
        (web.NUMBER, 7, 7),
        (values.DURATION, "1.5", 1.5),
        (values.DURATION, "500ms", 0.5),
        (values.DURATION, "5m", 300.0),
        (values.DURATION, "1h", 3600.0),
        (values.AGE, "365d", 31536000.0),
        (values.DURATION, 3, 3.0),
        (values.DURATION, 0.25, 0.25),
        (values.COUNT, "12", 12),
        (values.SWITCH, "on", True),
        (values.SWITCH, "False", False),
        (values.SWITCH, True, True),
        (values.MODE, "660", 0o660),
        (values.MODE, "0o600", 0o600),
        (values.ADMIN, "off", None),
        (values.ADMIN, False, None),
        (logged.PLACE, "-", "-"),
        (logged.PLACE, False, "off"),
        (logged.PLACE, "/var/log/x", "/var/log/x"),
        (values.LOG_FORMAT, "json", "json"),
        (values.PEERS, ["a:1", "unix:/b"], (Peer(Address("a", 1)), Peer(Address(path="/b")))),
        (values.LISTENERS, "127.0.0.1:0", (Address("127.0.0.1", 0),)),
    ],
)
def test_a_value_is_read(kind: values.Kind, raw: object, value: object) -> None:
    assert kind.read(raw) == value


@pytest.mark.parametrize(
    ("kind", "raw", "fix"),
    [
        (values.SIZE, "64kb", "such as 64k"),
        (values.SIZE, -1, "such as 64k"),
        (values.SIZE, True, "such as 64k"),
        (values.SIZE, 1.5, "such as 64k"),
        (values.SIZE, "9" * 15 + "g", "such as 64k"),
        (values.SIZE, None, "such as"),
        (values.LIMIT, "unlimited", "or off for no limit"),
        (values.LIMIT, -1, "or off for no limit"),
        (values.BOUND, 0, "0 does not mean 'no limit'"),
        (values.BOUND, "off", "this limit cannot be off"),
        (values.WAIT, "off", "0 does not mean 'never'"),
        (web.NUMBER, "none", "or off"),
        (web.NUMBER, -1, "or off"),
        (values.DURATION, "5x", "such as 500ms"),
        (values.DURATION, -1, "seconds"),
        (values.DURATION, "31d", "at most 30d"),
        (values.DURATION, float("nan"), "seconds"),
        (values.DURATION, float("inf"), "seconds"),
        (values.DURATION, "1e3", "seconds"),
        (values.DURATION, True, "seconds"),
        (values.WAIT, 0, "longer duration"),
        (values.WAIT, "0ms", "longer duration"),
        (values.ERROR_LOG, "off", "log_level"),
        (values.ERROR_LOG, False, "log_level"),
        (values.LISTENERS, "http://127.0.0.1:80", "without a scheme"),
        (values.COUNT, 0, "from 1 to"),
        (values.COUNT, "x", "whole number"),
        (values.COUNT, True, "whole number"),
        (values.COUNT, "1_0", "whole number"),
        (values.WORKERS, 129, "to 128"),
        (values.SWITCH, "maybe", "on or off"),
        (values.SWITCH, 1, "on or off"),
        (values.MODE, "8", "octal"),
        (values.MODE, 660, "octal"),
        (values.LOG_FORMAT, "xml", "combined or json"),
        (values.LOG_FORMAT, ["json"], "combined or json"),
        (values.TEXT, "a\nb", "control"),
        (values.TEXT, 3, "quotes"),
        (values.PATH, "", "path"),
        (logged.PLACE, "", "path"),
        (values.PEERS, "a:0", "port 0"),
        (values.PEERS, [], "list"),
        (values.PEERS, [1], "list"),
        (values.PEERS, ["a:1", "a:1"], "duplicate address"),
        (values.PEERS, [f"a:{port}" for port in range(1, 70)], "at most 64"),
        (values.LISTENERS, "example.org:80", "IP address"),
        (values.LISTENERS, "unix:@x", "path"),
        (values.ADMIN, ["127.0.0.1:1"], "one address"),
        (values.ADMIN, True, "one address"),
    ],
)
def test_a_wrong_value_is_told_the_mend(kind: values.Kind, raw: object, fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        kind.read(raw)


@given(st.integers(0, 1 << 40))
def test_a_size_shown_is_read_as_the_same(size: int) -> None:
    assert values.SIZE.read(values.SIZE.show(size)) == size


def test_limit_off_exceeds_every_announceable_length() -> None:
    assert values.LIMIT.read("off") > int("9" * 19)
    assert values.LIMIT.show(values.NO_LIMIT) == "off"
    assert values.LIMIT.read(values.LIMIT.show(values.NO_LIMIT)) == values.NO_LIMIT


@given(st.integers(0, 30 * 86400 * 1000))
def test_a_duration_shown_is_read_as_the_same(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert values.DURATION.read(values.DURATION.show(seconds)) == seconds


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("*", "*"),
        ("https://a.example", "https://a.example"),
        ("HTTPS://A.Example:8443", "https://a.example:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://my_app.example.", "https://my_app.example."),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_read_as_browsers_write_it(written: str, read: str) -> None:
    assert web.ORIGINS.read(written) == (read,)


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("https://*.example.com", "\\* stands for all origins, not for part of one; list each origin"),
        ("https://*", "list each origin"),
        ("*://a.example", "is not an origin"),
        ("https://b:443", "write https://b$"),
        ("http://b:0080", "write http://b$"),
        ("http://b:", "write http://b$"),
        ("https://b:08443", "write https://b:8443$"),
        ("https://b\u00fccher.example", "write https://xn--bcher-kva.example$"),
        ("https://stra\u00dfe.example", "write https://xn--strae-oqa.example$"),
        ("https://[0:0::1]", r"write https://\[::1\]$"),
        ("https://[::1", "is not an origin"),
        ("https://[::g]", "has no valid host"),
        ("http://127.1", "has no valid host"),
        ("http://0x7f.0.0.1", "has no valid host"),
        ("http://2130706433", "has no valid host"),
        ("https://a..b", "has no valid host"),
        ("https://b/", "is not an origin"),
        ("https://b/x", "is not an origin"),
        ("https://b?", "is not an origin"),
        ("https://b#x", "is not an origin"),
        ("https://b\\\\x", "is not an origin"),
        ("https://u@b", "is not an origin"),
        ("null", "is not an origin"),
        ("b.example", "is not an origin"),
        ("file://", "is not an origin"),
    ],
)
def test_what_no_browser_s_origin_equals_is_refused(written: str, fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        web.ORIGINS.read([written])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://cache", "redis://cache:6379/0"),
        ("redis://10.0.0.7:6380/3", "redis://10.0.0.7:6380/3"),
        ("rediss://gateway@[fd00::7]/1", "rediss://gateway@[fd00::7]:6379/1"),
        ("off", "off"),
    ],
)
def test_addresses_of_redis_are_read(text: str, shown: str) -> None:
    assert REDIS.show(REDIS.read(text)) == shown


@pytest.mark.parametrize(
    ("raw", "fix"),
    [
        ("redis://:secret@cache", "shared_limits_password_file"),
        ("redis://user:secret@cache:6379/0", "shared_limits_password_file"),
        ("redis://cache:0", "expected redis://HOST"),
        ("redis://cache:70000", "expected redis://HOST"),
        ("redis://cache/one", "expected redis://HOST"),
        ("http://cache", "expected redis://HOST"),
        ("cache:6379", "expected redis://HOST"),
        (7, "expected redis://HOST"),
    ],
)
def test_other_addresses_of_redis_are_refused(raw: object, fix: str) -> None:
    with pytest.raises(ValueError, match=fix) as refused:
        REDIS.read(raw)
    assert "secret" not in str(refused.value)
