"""Paths of routes: what they cover, and what is left behind them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.route_path import RoutePath
from proxy.wire.target import normalised


@pytest.mark.parametrize(
    ("path", "target", "prefix", "rest", "values"),
    [
        (b"/", b"/a?b", b"", b"/a?b", {}),
        (b"/a/", b"/a//b", b"/a", b"/b", {}),
        (b"/u/{name}", b"/u/bob", b"/u/bob", b"/", {b"name": b"bob"}),
        (b"/u/{name}", b"/u/bob/x?y=/", b"/u/bob", b"/x?y=/", {b"name": b"bob"}),
        (b"/u/{name}", b"//u/b%6Fb%2Fx%20y", b"/u/bob", b"/x%20y", {b"name": b"bob"}),
        (b"/u/{name}/", b"/u/a%20b/c%20d", b"/u/a b", b"/c%20d", {b"name": b"a%20b"}),
        (b"/u/{name}", b"/u/%C3%A9%3F%25%22/", b'/u/\xc3\xa9?%"', b"/", {b"name": b"%C3%A9%3F%25%22"}),
        (b"/v{n}.x/*/{b}", b"/v12.x/any/c", b"/v12.x/any/c", b"/", {b"n": b"12", b"b": b"c"}),
        (b"/*/x", b"/1/x/%2f%5Cevil.example", b"/1/x", b"/evil.example", {}),
    ],
)
def test_prefix_rest_and_values_of_a_path(
    path: bytes, target: bytes, prefix: bytes, rest: bytes, values: dict[bytes, bytes]
) -> None:
    made = RoutePath(path)
    assert made.takes(normalised(target))
    assert (made.prefix(target), made.rest(target), made.values(target)) == (prefix, rest, values)
    assert made.variables == [name.decode() for name in values]


@pytest.mark.parametrize(
    ("path", "exact", "taken", "others"),
    [
        (b"/a", False, [b"/a", b"/a/", b"/a/b"], [b"/", b"/ab"]),
        (b"/a/*", False, [b"/a/", b"/a/b"], [b"/a"]),
        (b"/a/*", True, [b"/a/b"], [b"/a", b"/a/", b"/a/b/", b"/a/b/c"]),
        (b"/a/{b}/", True, [b"/a/b/"], [b"/a/b", b"/a/b/c", b"/a//"]),
        (b"/{a}/", False, [b"/a/", b"/a/b"], [b"/", b"/a"]),
        (b"/x{a}y", False, [b"/xzy", b"/x-y/z"], [b"/xy", b"/xz", b"/zy", b"/x/y"]),
        (b"/xx{a}x", False, [b"/xxxx"], [b"/xxx"]),
    ],
)
def test_variables_stand_for_text_in_one_segment(
    path: bytes, exact: bool, taken: list[bytes], others: list[bytes]
) -> None:
    made = RoutePath(path, exact=exact)
    assert [one for one in [*taken, *others] if made.takes(one)] == taken


def test_narrower_paths_come_first() -> None:
    written = [
        (b"/a/b", True), (b"/{a}/b", True), (b"/a/b/", False), (b"/a/b", False), (b"/a/x{b}", False),
        (b"/a/{b}", False), (b"/{a}/b", False), (b"/a/", False), (b"/a", False), (b"/", False),
    ]  # fmt: skip
    paths = [RoutePath(text, exact=exact) for text, exact in written]
    paths = paths[::-1]
    assert sorted(paths, key=lambda path: path.rank) == paths[::-1]


@pytest.mark.parametrize(
    ("path", "target", "place"),
    [
        (b"/", b"/a/../b", b"/"),
        (b"/files", b"/files/a", b"/files/"),
        (b"/u/{name}", b"/u/bob/a", b"/u/bob/"),
        (b"/u/{name}", b"/u/bob", None),
        (b"/u/{name}", b"/u/b%6Fb/a", None),
        (b"/u/{name}", b"/u/b\\b/a", None),
        (b"/u/{name}", b"/u/b;b/a", None),
        (b"/u/{name}", b"//u/bob/a", None),
        (b"/u/{name}", b"/u/../a", None),
        (b"/files", b"/f/a", None),
    ],
)
def test_the_directory_that_a_path_covers(path: bytes, target: bytes, place: bytes | None) -> None:
    assert RoutePath(path).place(target) == place


@pytest.mark.parametrize(
    ("path", "place", "mentioned", "meets"),
    [
        (b"/admin", b"/", {b"admin"}, True),
        (b"/admin", b"/", {b"x"}, False),
        (b"/", b"/", {b"x"}, False),
        (b"/a", b"/a/b/", {b"x"}, False),
        (b"/a/b/c", b"/a/", {b"b"}, True),
        (b"/a/b/c", b"/x/", {b"b"}, False),
        (b"/{a}/b", b"/x/", {b"b"}, True),
        (b"/y{a}/b", b"/x/", {b"b"}, False),
        (b"/{a}/{b}", b"/x/", {b"y"}, True),
    ],
)
def test_what_a_path_below_a_directory_might_meet(
    path: bytes, place: bytes, mentioned: set[bytes], meets: bool
) -> None:
    assert RoutePath(path).meets(place, mentioned) is meets
    assert RoutePath(place.rstrip(b"/") or b"/", exact=True).meets(place, mentioned)


def test_the_same_path_without_its_slash() -> None:
    bare = RoutePath(b"/u/{name}/").without_slash()
    assert bare.variable
    assert RoutePath(b"/a/b", exact=True).takes(b"/a/b")
    assert (bare.text, bare.exact) == (b"/u/{name}", True)


@pytest.mark.parametrize("path", [b"/{}", b"/{A}", b"/{a", b"/a}", b"/{a}{b}", b"/**", b"/{a}*", b"/{a}/{a}", b"/{1}"])
def test_faulty_patterns(path: bytes) -> None:
    with pytest.raises(ValueError, match=r"variable|braces"):
        RoutePath(path)


@given(st.lists(st.sampled_from([b"/", b"u", b"%75", b"bob", b"%2F", b"//", b"%2f", b"\\", b"%5C", b"?", b"%20"])))
def test_what_is_covered_and_the_rest_make_the_path(parts: list[bytes]) -> None:
    target = b"/" + b"".join(parts)
    made = RoutePath(b"/u/{name}")
    if made.takes(normalised(target)):
        rest = made.rest(target)
        assert rest.startswith(b"/")
        assert not rest.startswith((b"//", b"/\\"))
        whole = made.prefix(target) + normalised(rest)
        assert whole.replace(b"\\", b"").replace(b"/", b"") == normalised(target).replace(b"\\", b"").replace(b"/", b"")
