"""Which fields with unusual names a route passes on: none that a server could take for one of the gateway's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.names import REQUEST_NAMES, Kind
from proxy.wire.unusual import NO_UNUSUAL, UnusualNames
from tests.proxy.wire.reading import read

PASSING = UnusualNames(("X-WebAuth-User", "Team"), passes=True)


def sorted_out(route: UnusualNames, *lines: bytes) -> tuple[list[bytes], list[bytes]]:
    fields = read(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines])).fields
    assert not any(b"_" in line for line in fields.lines)
    return route.sort(fields)


NAMES = (b"my_key", b"x-amz-meta-my_key", b"x-amz-meta-do.t", b"access_token", b"X_A", b"a~b", b"!a", b"_", b"a__b.")


@pytest.mark.parametrize("name", NAMES)
def test_harmless_names_pass_where_they_are_wanted(name: bytes) -> None:
    assert sorted_out(PASSING, name + b": v", b"X: 1") == ([name + b": v"], [])
    assert sorted_out(NO_UNUSUAL, name + b": v", b"X: 1") == ([], [name])


@pytest.mark.parametrize(
    "name",
    b"X_Forwarded_For X-Forwarded_For x.forwarded.for X_Forwarded_User X_Forwarded_Anything X.Real.IP X_Real_IP "
    b"Content_Length Content.Length Content_Type Content_MD5 Transfer_Encoding Proxy_Connection Proxy_Foo "
    b"Remote_User Remote.Addr Remote_Groups Script_Name Path_Info X_Request_ID X_Original_URL X_Rewrite_Url "
    b"Front_End_Https X_Client_Cert_Dn X_Scheme User_Agent Sec_Fetch_Site Sec_WebSocket_Key Keep_Alive "
    b"HTTP2_Settings X_WebAuth_User x.webauth.user X~Webauth_User".split(),
)
def test_names_that_resemble_others_do_not(name: bytes) -> None:
    assert sorted_out(PASSING, name + b": v") == ([], [name])


def test_a_name_beside_its_usual_spelling_is_dropped() -> None:
    lines = (b"X-Token: a", b"X_Token: b", b"x.token: c", b"Y_Token: d")
    assert sorted_out(PASSING, *lines) == ([b"Y_Token: d"], [b"X_Token", b"x.token"])


def test_a_nominated_name_ends_here() -> None:
    assert sorted_out(PASSING, b"Connection: close, x_a", b"X_A: 1", b"X_B: 2") == ([b"X_B: 2"], [])


@given(st.text("xforwadeXFRpl-_.~realip", min_size=1, max_size=16))
def test_no_spelling_of_what_the_gateway_sets_passes(name: str) -> None:
    passed, _ = sorted_out(PASSING, name.encode() + b": v")
    for line in passed:
        variable = "".join(c if c.isalnum() else "-" for c in line.partition(b":")[0].decode().lower())
        assert REQUEST_NAMES[variable.encode()] is Kind.FORWARD
