"""Preconditions and ranges, case by case of RFC 9110 sections 13 and 14."""

import pytest

from proxy.wire.conditions import Validators, conditions
from proxy.wire.fields import field_value, with_vary

CHANGED = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
NOW = CHANGED + 3600
STATE = Validators(b'"a1"', CHANGED + 0.25)
SAME = b"Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = b"Sun, 06 Nov 1994 08:49:36 GMT"


@pytest.mark.parametrize(
    ("method", "lines", "status"),
    [
        (b"GET", [], 200),
        (b"GET", [b'If-None-Match: "a1"'], 304),
        (b"HEAD", [b'if-none-match: "x", W/"a1"'], 304),
        (b"GET", [b"If-None-Match: *"], 304),
        (b"POST", [b'If-None-Match: "a1"'], 412),
        (b"GET", [b'If-None-Match: "a2"'], 200),
        (b"GET", [b'If-None-Match: "a2"', b'If-None-Match: "a1"'], 304),
        (b"GET", [b'If-Match: "a1"'], 200),
        (b"GET", [b'If-Match: W/"a1"'], 412),
        (b"GET", [b"If-Match: *"], 200),
        (b"GET", [b"If-Modified-Since: " + SAME], 304),
        (b"GET", [b"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"], 304),
        (b"GET", [b"If-Modified-Since: Sun Nov  6 08:49:37 1994"], 304),
        (b"GET", [b"If-Modified-Since: " + EARLIER], 200),
        (b"GET", [b"If-Modified-Since: yesterday"], 200),
        (b"GET", [b"If-Modified-Since: Sun, 06 Nov 99999 08:49:37 GMT"], 200),
        (b"GET", [b"Accept: */*", b'If-None-Match: "a1"'], 304),
        (b"POST", [b"If-Modified-Since: " + SAME], 200),
        (b"GET", [b"If-Modified-Since: " + SAME, b'If-None-Match: "a2"'], 200),
        (b"GET", [b"If-Unmodified-Since: " + EARLIER], 412),
        (b"GET", [b"If-Unmodified-Since: " + SAME], 200),
        (b"GET", [b"If-Unmodified-Since: " + EARLIER, b'If-Match: "a1"'], 200),
    ],
)
def test_preconditions_in_their_order(method: bytes, lines: list[bytes], status: int) -> None:
    assert conditions(lines).verdict(method, STATE) == status


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (3600.0, SAME),
        (2.0, SAME),
        (1.9, EARLIER),  # it may change once more in the second of its change
        (0.0, EARLIER),
        (-0.1, EARLIER),
        (-1.0, b"Sun, 06 Nov 1994 08:49:35 GMT"),  # the clock was set back: never in the future
    ],
)
def test_the_date_of_a_change_that_is_told(after: float, told: bytes) -> None:
    assert STATE.last_modified(STATE.changed + after) == told


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        ([], None),
        ([b"Range: bytes=0-9"], slice(0, 10)),
        ([b"Range: bytes=90-"], slice(90, 100)),
        ([b"Range: bytes=90-1000"], slice(90, 100)),
        ([b"Range: bytes=-10"], slice(90, 100)),
        ([b"Range: bytes=-1000"], slice(0, 100)),
        ([b"Range: bytes = 0-9"], slice(0, 10)),
        ([b"Range: bytes=9-0"], None),
        ([b"Range: bytes=0-1,5-6"], slice(0, 7)),
        ([b"Range: bytes=0-1, 500-600"], slice(0, 2)),
        ([b"Range: bytes=,0-1,"], slice(0, 2)),
        ([b"Range: lines=0-1"], None),
        ([b"Range: bytes=a-b"], None),
        ([b"Range: bytes=" + b"9" * 30 + b"-"], None),
        ([b"Range: bytes=0-1", b'If-Range: "a1"'], slice(0, 2)),
        ([b"Range: bytes=0-1", b'If-Range: W/"a1"'], None),
        ([b"Range: bytes=0-1", b'If-Range: "a2"'], None),
        ([b"Range: bytes=0-1", b"If-Range: " + SAME], slice(0, 2)),
        ([b"Range: bytes=0-1", b"If-Range: " + EARLIER], None),
    ],
)
def test_single_ranges(lines: list[bytes], part: slice | None) -> None:
    assert conditions(lines).wanted(b"GET", STATE, 100, NOW) == (None if part is None else [part])


def test_a_range_of_nothing() -> None:
    assert conditions([b"Range: bytes=-5"]).wanted(b"GET", STATE, 0, NOW) is None
    assert conditions([b"Range: bytes=0-"]).wanted(b"GET", STATE, 0, NOW) == []


def test_only_get_has_ranges() -> None:
    assert conditions([b"Range: bytes=0-9"]).wanted(b"HEAD", STATE, 100, NOW) is None


def test_a_date_does_not_validate_a_range_while_it_is_young() -> None:
    wanted = conditions([b"Range: bytes=0-1", b"If-Range: " + SAME]).wanted
    assert wanted(b"GET", STATE, 100, CHANGED + 1) is None


def test_fields_are_found_whatever_their_spelling() -> None:
    lines = [b"ORIGIN: https://a", b"Origin-Trial: x", b"origin:https://b"]
    assert field_value(lines, b"origin") == b"https://a, https://b"
    assert field_value(lines, b"vary") is None


def test_vary_names_everything_once() -> None:
    assert with_vary([b"A: 1"], b"Origin") == [b"A: 1", b"Vary: Origin"]
    assert with_vary([b"Vary: accept, ORIGIN"], b"Origin") == [b"Vary: accept, ORIGIN"]
    assert with_vary([b"vary: Accept"], b"Origin", b"Accept") == [b"vary: Accept", b"Vary: Origin"]
    assert with_vary([b"Vary: *"], b"Origin") == [b"Vary: *"]
