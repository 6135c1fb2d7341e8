"""Which certificate serves which name."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.net.certificate_set import NAMELESS, KeyPair, Lifetime, choices, lifetimes, next_change, served

NOW = 1000.0
VALID, EXPIRED, COMING = (0, 2000), (0, 500), (1500, 2000)


def pair(*names: str, dates: tuple[int, int] = VALID, algorithm: str = "ECDSA", mark: str = "", own: bool = False):  # type: ignore[no-untyped-def]
    return KeyPair(mark.encode(), b"", names, *dates, algorithm, stands_in=own)


def marks(pairs: Sequence[KeyPair], name: str, now: float = NOW) -> list[str]:
    return [one.chain.decode() for one in choices(pairs, now)[name]]


CASES = {
    "one of each algorithm": (
        [pair("a", mark="ec"), pair("a", mark="rsa", algorithm="RSA"), pair("a", mark="second", algorithm="RSA")],
        ["ec", "rsa"],
    ),
    "the order is the file's": ([pair("a", mark="rsa", algorithm="RSA"), pair("a", mark="ec")], ["rsa", "ec"]),
    "valid before expired": ([pair("a", dates=EXPIRED, mark="old"), pair("a", mark="new")], ["new"]),
    "valid before what is to come": ([pair("a", dates=COMING, mark="early"), pair("a", mark="new")], ["new"]),
    "an expired one of another algorithm is not shown beside a valid one": (
        [pair("a", dates=EXPIRED, mark="old", algorithm="RSA"), pair("a", mark="new")],
        ["new"],
    ),
    "expired ones where there is nothing else": (
        [pair("a", dates=EXPIRED, mark="ec"), pair("a", dates=EXPIRED, mark="rsa", algorithm="RSA")],
        ["ec", "rsa"],
    ),
    "the name's own before a wildcard's": ([pair("*.x", mark="wild"), pair("a.x", mark="own")], ["own"], "a.x"),
    "a valid wildcard before an expired own one": (
        [pair("a.x", dates=EXPIRED, mark="own"), pair("*.x", mark="wild")],
        ["wild"],
        "a.x",
    ),
    "a wildcard is not mixed with the name's own": (
        [pair("a.x", mark="own"), pair("*.x", mark="wild", algorithm="RSA")],
        ["own"],
        "a.x",
    ),
    "what somebody vouches for before what stands in": (
        [pair("a", mark="stand-in", own=True), pair("a", mark="real", algorithm="RSA")],
        ["real"],
    ),
    "also a wildcard's, and though it has expired": (
        [pair("a.x", mark="stand-in", own=True), pair("*.x", dates=EXPIRED, mark="real")],
        ["real"],
        "a.x",
    ),
    "a stand-in where there is nothing else": ([pair("a", mark="stand-in", own=True)], ["stand-in"]),
    "any other name gets the first": ([pair("a", mark="first"), pair("b", mark="second")], ["first"], ""),
    "the first that is valid": ([pair("a", dates=EXPIRED, mark="first"), pair("b", mark="second")], ["second"], ""),
    "with what serves its name": (
        [pair("a", mark="ec"), pair("b", mark="other"), pair("a", mark="rsa", algorithm="RSA")],
        ["ec", "rsa"],
        "",
    ),
    "without a name the one for an address": ([pair("a", mark="a"), pair("192.0.2.1", mark="ip")], ["ip"], NAMELESS),
    "unless the gateway made it": (
        [pair("::1", mark="stand-in", own=True), pair("2001:db8::1", mark="ip")],
        ["ip"],
        NAMELESS,
    ),
    "one without a name": ([pair(mark="nameless")], ["nameless"], ""),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_best_of_a_name_serve_it(case: tuple[list[KeyPair], list[str], *tuple[str, ...]]) -> None:
    pairs, expected, *name = case
    assert marks(pairs, name[0] if name else "a") == expected


def test_the_choice_changes_when_a_certificate_begins_or_ends() -> None:
    pairs = [pair("a", dates=(0, 1500), mark="old"), pair("a", dates=(1200, 3000), mark="new", algorithm="RSA")]
    seen = []
    now = 0.0
    while now < math.inf:
        seen.append((now, marks(pairs, "a", now)))
        now = next_change(pairs, now)
    assert seen == [(0.0, ["old"]), (1200, ["old", "new"]), (1500, ["new"]), (3000, ["old", "new"])]


def test_nothing_is_chosen_of_nothing() -> None:
    assert choices([], NOW) == {}
    assert served({}) == ()
    assert next_change([], NOW) == math.inf


def test_certificates_that_nobody_is_shown_do_not_count() -> None:
    pairs = [pair("a", dates=EXPIRED, mark="old"), pair("a", mark="new"), pair("b", dates=(0, 1500), mark="b")]
    assert lifetimes(served(choices(pairs, NOW))) == {"a": Lifetime(2000, 0), "b": Lifetime(1500, 0)}


names = st.sampled_from(["a.x", "b.x", "*.x", "y"])
some_pairs = st.lists(
    st.builds(
        KeyPair,
        st.binary(min_size=3, max_size=3),
        st.just(b""),
        st.lists(names, max_size=3, unique=True).map(tuple),
        st.sampled_from([0, 1500]),
        st.sampled_from([500, 2000]),
        st.sampled_from(["RSA", "ECDSA", "Ed25519"]),
        st.booleans(),
    ),
    max_size=8,
)


@given(some_pairs)
def test_every_name_that_has_one_is_served_by_its_best(pairs: list[KeyPair]) -> None:
    found = choices(pairs, NOW)
    assert set(found) - {""} == {name for one in pairs for name in one.names}
    for name, choice in found.items():
        assert len({one.algorithm for one in choice}) == len(choice) > 0
        assert len({(one.stands_in, one.valid(NOW)) for one in choice}) == 1
        fit = [one for one in pairs if name in one.names]
        if any(one.valid(NOW) and not one.stands_in for one in fit):
            assert all(one.valid(NOW) and not one.stands_in for one in choice)
