"""Which route a request belongs to, and that a path cannot be spelt around one."""

import posixpath
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.exchange.relay import RelayLimits
from proxy.exchange.route import Match, Route, Routes, Tables, normalised, without_slash
from proxy.settings import Settings, SettingsError, load
from proxy.settings.values.address import Peer
from proxy.upstream import balance
from proxy.upstream.cluster import Cluster
from proxy.wire.request_line import HeadLimits
from proxy.wire.target import has_dot_segment

LIMITS = RelayLimits.of(Settings())


def match(spec: str) -> Match:
    """ "host/path" with a trailing "=" where only that path counts; the spec is the route's name."""
    host, slash, path = spec.rstrip("=").partition("/")
    route = Route(spec, Settings(), LIMITS, Cluster([], balance.policy("round-robin")), None)
    return Match(host.encode(), (slash + path).encode(), spec.endswith("="), route)


ROUTES = Routes(map(match, [
    "/", "/api/", "/api/v2/", "/health", "/health=", "a.example/", "a.example/api/", "*.example/", "*.b.example/x/",
]))  # fmt: skip


@pytest.mark.parametrize(("host", "target", "name"), [
    (None, b"/", "/"), (b"other", b"/api/x", "/api/"), (b"other", b"/api", "/"),
    (b"other", b"/api/v2/x?y=/", "/api/v2/"),
    (b"other", b"/health", "/health="), (b"other", b"/health/db", "/health"), (b"other", b"/healthy", "/"),
    (b"a.example", b"/", "a.example/"), (b"A.Example:8443", b"/api/", "a.example/api/"),
    (b"a.example.", b"/z", "a.example/"), (b"A.EXAMPLE.:80", b"/z", "a.example/"), (b"z.example:", b"/z", "*.example/"),
    (b"z.example", b"/api/", "*.example/"), (b"z.b.example", b"/x/1", "*.b.example/x/"),
    (b"z.b.example", b"/y", "*.example/"),
    (b"example", b"/", "/"), (b"[::1]:80", b"/api/", "/api/"), (b"x", b"*", "/"), (b"a.example", b"*", "a.example/"),
    (b"x", b"/%61pi/", "/api/"), (b"x", b"//api//v2///x", "/api/v2/"), (b"x", b"/api%2Fv2%2Fx", "/api/v2/"),
])  # fmt: skip
def test_the_narrowest_route_takes_a_request(host: bytes | None, target: bytes, name: str | None) -> None:
    route = ROUTES.find(host, target)
    assert (route.name if route else None) == name


def mounted(spec: str) -> Match:
    """As `match`, for a route that strips its prefix where the spec begins with "-"."""
    made = match(spec.removeprefix("-"))
    if spec.startswith("-"):
        object.__setattr__(made.route, "settings", Settings(strip_prefix=True))
    return made


@pytest.mark.parametrize(
    ("written", "bare"),
    [
        (["-/gl/"], ["/gl"]),
        (["-/gl/", "/"], ["/gl"]),
        (["/gl/"], ["/gl"]),
        (["/gl/", "/"], []),
        (["-/gl/", "/gl="], []),
        (["-/gl/", "/gl"], []),
        (["/gl/", "a.example/gl"], ["/gl"]),
        (["-a.example/gl/", "/gl="], ["a.example/gl"]),
        (["a.example/gl/", "/gl="], []),
        (["a.example/gl/", "*.example/"], []),
        (["*.example/gl/", "a.example/"], ["*.example/gl"]),
        (["-/", "-/gl", "-/gl/=", "a.example/"], []),
    ],
)
def test_path_without_slash_redirects_unless_routed_otherwise(written: list[str], bare: list[str]) -> None:
    found = without_slash([mounted(spec) for spec in written])
    assert [(one.host + one.path).decode() for one in found] == bare
    assert all(one.exact for one in found)


@given(st.text("/ab%61", max_size=12))
def test_a_normal_path_is_not_changed_again(path: str) -> None:
    once = normalised(("/" + path).encode())
    assert b"//" not in once


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "proxy.toml"
    path.write_text(text)
    return path


def test_a_route_differs_from_the_top_level_in_what_it_says(tmp_path: Path) -> None:
    settings = load(
        {},
        written(
            tmp_path,
            """
        upstream = "127.0.0.1:1"
        read_timeout = 7
        [[route]]
        host = ["A.example", "*.b.example"]
        path = "/x/"
        upstream = ["127.0.0.1:2 weight=3", "unix:/run/x.sock"]
        retry_wait = 0
        [[route]]
        name = "old"
        exact = "/old"
        redirect = "https://new.example/"
    """,
        ),
    )
    first, second = settings.routes
    assert (first.name, first.hosts) == ("a.example/x/", ("a.example", "*.b.example"))
    assert (first.path, first.exact) == ("/x/", False)
    assert [str(peer) for peer in first.settings.upstream] == ["127.0.0.1:2 weight=3", "unix:/run/x.sock"]
    assert (first.settings.retry_wait, first.settings.read_timeout, settings.retry_wait) == (0.0, 7.0, 10.0)
    assert (second.name, second.exact, second.settings.redirect) == ("old", True, "https://new.example/")


def test_what_the_top_level_says_can_be_switched_off_for_a_route(tmp_path: Path) -> None:
    users, pages = tmp_path / "users", tmp_path / "pages"
    users.write_text("ann:$2y$05$" + "x" * 53 + "\n")
    pages.mkdir()
    settings = load(
        {},
        written(
            tmp_path,
            f"""
        upstream = "127.0.0.1:1"
        basic_auth = "{users}"
        error_pages = "{pages}"
        forward_auth = "http://127.0.0.1:2/"
        rate = "1/s"
        allow = "10.0.0.0/8"
        [[route]]
        path = "/open"
        basic_auth = "off"
        error_pages = false
        forward_auth = "off"
        rate = "off"
        allow = []
    """,
        ),
    )
    route = settings.routes[0].settings
    assert (settings.basic_auth, settings.error_pages) == (users, pages)
    assert (route.basic_auth, route.error_pages, route.rate) == (None, None, None)
    assert (route.forward_auth, route.allow) == ("", ())


def test_unnamed_routes_are_named_after_where_they_apply(tmp_path: Path) -> None:
    text = '[[route]]\nexact = "/gl"\nredirect = "/gl/{query}"\n[[route]]\npath = "/gl"\nupstream = "a:1"\n'
    text += '[[route]]\nhost = "b.example"\nexact = "/gl"\nrespond = "x"\n'
    routes = load({}, written(tmp_path, text)).routes
    assert [route.name for route in routes] == ["= /gl", "/gl", "= b.example/gl"]


@pytest.mark.parametrize(("text", "mistake"), [
    ('[[route]]\npath = "x"\nupstream = "a:1"', 'FILE:2: route 1: path = "x": expected a path'),
    ('burst = 1\n[[route]]\nname = "w"\nbrust = 1\nupstream = "a:1"', "FILE:4: route w: brust: unknown setting"),
    ('[[route]]\nupstream = "a:1"\nworkers = 2', "FILE:3: route 1: workers: not allowed inside [[route]]"),
    ('[[route]]\npath = "/a"\nexact = "/a"\nupstream = "a:1"', "FILE:3: route 1: exact: path is there too"),
    ('[[route]]\npath = "/a"\n[[route]]\npath = "/a"', "route 2: matches the same requests as route 1"),
    ('[[route]]\nexact = "/a"\n[[route]]\nexact = "/a"', "route 2: matches the same requests as route 1"),
    ('[[route]]\npath = "/a"', "route /a: does not say how to respond; add upstream, redirect"),
    ('[[route]]\npath = "/%61"', 'FILE:2: route 1: path = "/%61": never matches'),
    ('[[route]]\nexact = "/a//b"', "write it without %, // and dot segments"),
    ('[[route]]\npath = "/a/../b"', "write it without %, // and dot segments"),
    ('[[route]]\nhost = "https://a.b"', "'https://a.b' is not a host name such as api.example.com or *.example.com"),
    ('[[route]]\nhost = ""\npath = "/a"', 'FILE:2: route 1: host = "": empty list; leave it out to match all hosts'),
    ('upstream = "a:1"\nsticky_cookie = "a; b"', 'FILE:2: sticky_cookie = "a; b": expected a cookie\'s name'),
    ('upstream = "a:1"\nhealth_path = "ready"', 'FILE:2: health_path = "ready": expected a path that begins with /'),
    ("[route]\npath = '/a'", "FILE:1: route: write [[route]], in double brackets"),
    ('upstream = "a:1"\n[[certificate]]\ncert = "x"', "FILE: certificate 1: needs both 'cert' and 'key'"),
    ('upstream = "a:1"\nacme = "x@y"', "acme = x@y: needs the names to obtain certificates for; add domain"),
    ('upstream = "a:1"\nadmin = "0.0.0.0:1"', "admin = 0.0.0.0:1: reachable from other machines"),
    ('upstream = "a:1"\nset_request_fields = { X-Forwarded-For = "x" }', "'X-Forwarded-For' is the gateway's own"),
    ('upstream = "a:1"\nset_request_fields = { Host = "{host}" }', "Host: expected a host such as app.internal:8080"),
    ('upstream = "a:1"\nset_request_fields = { host = "" }', "host: expected a host such as app.internal:8080"),
    ('upstream = "a:1"\nremove_request_fields = "Host"', "'Host' cannot be missing"),
    ('upstream = "a:1"\nset_response_fields = { Host = "x" }', "'Host' is a request field; remove it"),
])  # fmt: skip
def test_a_mistake_in_a_table_is_named(tmp_path: Path, text: str, mistake: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load({}, path)
    assert any(mistake in line.replace(str(path), "FILE") for line in caught.value.mistakes), caught.value.mistakes


@pytest.mark.parametrize(
    ("upstream", "host"),
    [
        ([], b""),
        (["127.0.0.1:8080", "127.0.0.1:8081"], b"127.0.0.1:8080"),
        (["[::1]:80 weight=3"], b"[::1]:80"),
        (["unix:/run/app.sock"], b"localhost"),
        (["app.internal:80"], b"app.internal:80"),
    ],
)
def test_request_without_host_gets_the_applications(upstream: list[str], host: bytes) -> None:
    settings = Settings(upstream=tuple(map(Peer.parse, upstream)))
    assert Route("", settings, LIMITS, Cluster([], balance.policy("round-robin")), None).host == host


def tables(*specs: str, passing: tuple[str, ...], dots: bool = True) -> Tables:
    """Routes as `match` makes them; those named in `passing` pass dot segments."""
    matches = [match(spec) for spec in specs]
    for made in matches:
        if made.route.name in passing:
            object.__setattr__(made.route, "settings", Settings(dot_segments="pass"))
    return Tables(Settings(), HeadLimits(dots=dots), matches)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (b"/a/../b", "/"), (b"/a/./b", "/"), (b"/../x", None), (b"/x?/../admin", "/"), (b"/files/a/../b", "/files"),
        (b"/x/../admin", None), (b"/admin/..", None), (b"/admin/../x", None), (b"/x/%2e%2e/admin/y", None),
        (b"/x%2f..%2fadmin", None), (b"/x\\..\\admin", None), (b"/x/..;/admin", None), (b"/./admin", None),
        (b"/admin/./x", None), (b"/x/../admin/..;/y", None), (b"/files/../x", None), (b"/x/../files", None),
        (b"/files/a/../../files/b", None),
        (b"/x//../admin", None), (b"/x/../only", None), (b"/only/.", None), (b"/x/../%61dmin", None),
        (b"/a/../b/admin", None), (b"/a/../administrator", "/"), (b"/a/../..", None), (b"/%66iles/a/../b", None),
        (b"/a/%41/../b%2F/c", "/"), (b"*", "/"), (b"/admin", "/admin"),
    ],
)  # fmt: skip
def test_dot_segments_pass_if_all_readings_reach_one_route(target: bytes, name: str | None) -> None:
    routes = tables("/", "/files", "/admin", "/only=", passing=("/", "/files"))
    if name is None:
        with pytest.raises(ExchangeError) as refusal:
            routes.route_for(b"a.example", target)
        assert refusal.value.failure.reason == "target_path"
    else:
        route = routes.route_for(b"a.example", target)
        assert route is not None
        assert route.name == name


def test_an_exact_route_at_the_same_path_might_be_met() -> None:
    routes = tables("/files", "/files=", passing=("/files",))
    with pytest.raises(ExchangeError):
        routes.route_for(None, b"/files/a/..")


def test_a_route_of_a_wider_host_is_not_met() -> None:
    routes = tables("a.example/", "/", passing=("a.example/",))
    route = routes.route_for(b"a.example", b"/a//../b/")
    assert route is not None
    assert route.name == "a.example/"


def test_the_only_route_may_pass_them_or_not() -> None:
    route = tables("/", passing=("/",)).route_for(None, b"/a/../b")
    assert route is not None
    with pytest.raises(ExchangeError):
        tables("/", passing=()).route_for(None, b"/a/../b")
    with pytest.raises(ExchangeError):
        tables("a.example/", passing=("a.example/",)).route_for(b"b.example", b"/a/../b")


DOTTED = st.sampled_from(
    [b"/", b"..", b".", b"%2e", b"%2E.", b"%2f", b"\\", b"%5C", b";", b"admin", b"%61dmin", b"x", b"//"]
)


@given(st.lists(DOTTED, max_size=9))
def test_no_spelling_with_dots_passes_a_stricter_route(parts: list[bytes]) -> None:
    routes = tables("/", "/admin", passing=("/",))
    target = b"/" + b"".join(parts)
    try:
        route = routes.route_for(None, target)
    except ExchangeError:
        return
    assert route is not None
    if route.name == "/" and has_dot_segment(target):
        path = unquote_to_bytes(target)
        for read in (path, path.replace(b"\\", b"/")):
            assert posixpath.normpath(read).lstrip(b"/").split(b"/")[0] != b"admin"
