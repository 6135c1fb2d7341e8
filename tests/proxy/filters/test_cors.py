"""Cross-origin permissions: given once, to those who are let in, and never on the application's behalf."""

import pytest

from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.filters.cors import Cors
from tests.proxy.filters.requests import asked

APP = b"https://app.example"
ASKS = b"Access-Control-Request-Method: PUT"


def cors(*origins: str, credentials: bool = False) -> Cors:
    return Cors(origins, ["GET", "PUT"], ["Content-Type"], credentials=credentials, max_age=600.0)


def preflight(rules: Cors, *lines: bytes, method: bytes = b"OPTIONS") -> LocalResponse | None:
    return rules.preflight(asked("/", *lines, method=method))


def test_a_browser_is_told_what_it_may_ask() -> None:
    answer = preflight(cors("https://app.example", credentials=True), b"Origin: " + APP, ASKS)
    assert answer is not None
    assert answer.status == 204
    assert answer.fields == (
        b"Access-Control-Allow-Origin: https://app.example",
        b"Access-Control-Allow-Credentials: true",
        b"Access-Control-Allow-Methods: GET, PUT",
        b"Access-Control-Max-Age: 600",
        b"Access-Control-Allow-Headers: Content-Type",
        b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    )


@pytest.mark.parametrize(
    "origin", [b"https://evil.example", b"null", b"https://app.example.evil.example", b"http://app.example"]
)
def test_a_strange_origin_is_refused(origin: bytes) -> None:
    with pytest.raises(ExchangeError) as refusal:
        preflight(cors("https://app.example"), b"Origin: " + origin, ASKS)
    assert refusal.value.failure.status == 403


def test_other_requests_are_none_of_its_business() -> None:
    rules = cors("https://app.example")
    assert preflight(rules, b"Origin: https://evil.example", ASKS, method=b"GET") is None
    assert preflight(rules, b"Origin: https://evil.example") is None
    assert preflight(rules, ASKS) is None


def test_an_answer_gets_the_permission_and_says_that_it_varies() -> None:
    rules = cors("https://app.example", credentials=True)
    assert rules.allow([b"origin: " + APP], [b"Server: x", b"Vary: Accept"]) == [
        b"Server: x",
        b"Vary: Accept",
        b"Access-Control-Allow-Origin: https://app.example",
        b"Access-Control-Allow-Credentials: true",
        b"Vary: Origin",
    ]
    assert rules.allow([b"Origin: https://evil.example"], []) == [b"Vary: Origin"]
    assert rules.allow([], [b"vary: ORIGIN"]) == [b"vary: ORIGIN"]


def test_every_origin_is_let_in_without_credentials() -> None:
    rules = cors("*", credentials=True)
    assert rules.allow([b"Origin: https://any.example"], []) == [b"Access-Control-Allow-Origin: *"]
    assert rules.allow([], [b"A: 1"]) == [b"A: 1"]


def test_an_application_that_speaks_for_itself_is_left_alone() -> None:
    own = [b"ACCESS-CONTROL-ALLOW-ORIGIN: https://other.example"]
    assert cors("*").allow([b"Origin: " + APP], own) == own
