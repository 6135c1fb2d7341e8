"""Which route a request belongs to, and that a path cannot be spelt around one."""

import posixpath
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ExchangeError
from proxy.exchange.matchers import Glob, Matchers
from proxy.exchange.relay import RelayLimits
from proxy.exchange.route import Match, Route, Routes, Tables, normalised, without_slash
from proxy.settings import Matching, Settings, SettingsError, load
from proxy.settings.values.address import Peer
from proxy.upstream import balance
from proxy.upstream.cluster import Cluster
from proxy.wire.request import RequestFields, join_cookies, parse_request_fields
from proxy.wire.request_line import HeadLimits
from proxy.wire.route_path import RoutePath
from proxy.wire.target import has_dot_segment

LIMITS = RelayLimits.of(Settings())
NO_FIELDS = RequestFields()


def match(spec: str) -> Match:
    """ "host/path" with a trailing "=" where only that path counts; the spec is the route's name."""
    host, slash, path = spec.rstrip("=").partition("/")
    route = Route(spec, Settings(), LIMITS, Cluster([], balance.policy("round-robin")), None)
    return Match(host.encode(), RoutePath((slash + path).encode(), exact=spec.endswith("=")), route)


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
    route = ROUTES.find(host, target, b"GET", NO_FIELDS)
    assert (route.name if route else None) == name


def asking(name: str, path: str = "/", **wanted: Any) -> Match:
    """A route that asks for more than its path."""
    matching = Matching(**{part: tuple(value) for part, value in wanted.items()})
    return replace(match(path), route=replace(match(path).route, name=name), matchers=Matchers(matching))


MATCHED = Routes([
    *map(match, ["/", "/api/", "/u/{name}", "/u/admin", "/u/{name}/files/", "/v{number}/x=", "/v/{any}=", "/b/*/x/*"]),
    asking("post", methods=["POST", "PUT"]),
    asking("both", methods=["POST"], fields=[("X-Version", "2*")]),
    asking("json", "/api/", fields=[("Accept", "application/json")]),
    asking("beta", cookies=[("beta", "*")]),
    asking("mobile", fields=[("User-Agent", "*Mobile*Safari*")]),
    asking("debug", "/api/", parameters=[("debug", "1")]),
    asking("spaced", "/api/", parameters=[("q a", "é*")]),
])  # fmt: skip


@pytest.mark.parametrize(
    ("line", "fields", "name"),
    [
        ("GET /u/bob", "", "/u/{name}"),
        ("GET /u/b%6Fb/x?y", "", "/u/{name}"),
        ("GET /u/admin", "", "/u/admin"),
        ("GET /u/%61dmin/x", "", "/u/admin"),
        ("GET /u//admin", "", "/u/admin"),
        ("GET /u/", "", "/"),
        ("GET /u", "", "/"),
        ("GET /u/bob/files/", "", "/u/{name}/files/"),
        ("GET /u/bob%2Ffiles/x", "", "/u/{name}/files/"),
        ("GET /u/bob/files", "", "/u/{name}"),
        ("GET /u/admin/files/1", "", "/u/{name}/files/"),
        ("GET /v12/x", "", "/v{number}/x="),
        ("GET /v/x", "", "/v/{any}="),
        ("GET /v12/x/", "", "/"),
        ("GET /v/a/b", "", "/"),
        ("GET /b/1/x/2", "", "/b/*/x/*"),
        ("GET /b/1/x", "", "/"),
        ("POST /z", "", "post"),
        ("POST /z", "X-Version: 21", "both"),
        ("POST /z", "X-Version: 3", "post"),
        ("PUT /z", "X-Version: 2", "post"),
        ("POST /api/", "", "/api/"),
        ("GET /api/", "Accept: text/html, application/json;q=0.9", "json"),
        ("GET /api/", "Accept: application/json-seq", "/api/"),
        ("GET /", "Cookie: a=1; beta=", "beta"),
        ("GET /", "Cookie: a=beta=1", "/"),
        ("GET /", "Cookie: betamax=1", "/"),
        ("GET /", "User-Agent: X Mobile (Safari)", "mobile"),
        ("GET /", "User-Agent: X Safari Mobile", "/"),
        ("GET /api/?a=1&debug=1", "", "debug"),
        ("GET /api/?debug=0&d%65bug=%31", "", "debug"),
        ("GET /api/?debug=11", "", "/api/"),
        ("GET /api/?q+a=%C3%A9t%C3%A9", "", "spaced"),
    ],
)
def test_the_route_that_asks_for_most_takes_a_request(line: str, fields: str, name: str) -> None:
    method, target = line.encode().split(b" ")
    parsed = parse_request_fields(fields.encode(), HeadLimits())
    join_cookies(parsed, HeadLimits()) if parsed.cookies else None
    route = MATCHED.find(b"a.example", target, method, parsed)
    assert route is not None
    assert route.name == name


def test_of_equal_routes_the_first_in_the_file_counts() -> None:
    routes = [asking("first", fields=[("A", "1")]), asking("second", fields=[("B", "1")])]
    fields = parse_request_fields(b"B: 1\r\nA: 1", HeadLimits())
    for ordered in (routes, routes[::-1]):
        route = Routes(ordered).find(None, b"/", b"GET", fields)
        assert route is ordered[0].route


@pytest.mark.parametrize(
    ("glob", "text", "taken"),
    [
        ("a*a", "a", False), ("a*a", "aa", True), ("*", "", True), ("*b*", "abc", True), ("*b*b*", "abc", False),
        ("a*b*c", "abbc", True), ("a*b*c", "acbc", True), ("a*bc*c", "abc", False), ("", "", True), ("x", "xx", False),
    ],
)  # fmt: skip
def test_stars_stand_for_any_text(glob: str, text: str, taken: bool) -> None:
    assert Glob(glob.encode()).takes(text.encode()) is taken


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
        (["-/u/{name}/", "/"], ["/u/{name}"]),
        (["/u/{name}/"], []),
        (["-/u/{name}/", "/u/{user}="], []),
        (["-/u/{name}/*", "/u/{user}"], []),
    ],
)
def test_path_without_slash_redirects_unless_routed_otherwise(written: list[str], bare: list[str]) -> None:
    found = without_slash([mounted(spec) for spec in written])
    assert [(one.host + one.path.text).decode() for one in found] == bare
    assert all(one.path.exact for one in found)


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
    text += '[[route]]\npath = "/gl/*"\nmethod = ["PUT", "POST"]\nquery = { v = "2" }\nrespond = "x"\n'
    routes = load({}, written(tmp_path, text)).routes
    assert [route.name for route in routes] == ["= /gl", "/gl", "= b.example/gl", "/gl/ POST|PUT ?v=2"]


@pytest.mark.parametrize(("text", "mistake"), [
    ('[[route]]\npath = "x"\nupstream = "a:1"', 'FILE:2: route 1: path = "x": expected a path'),
    ('burst = 1\n[[route]]\nname = "w"\nbrust = 1\nupstream = "a:1"', "FILE:4: route w: brust: unknown setting"),
    ('[[route]]\nupstream = "a:1"\nworkers = 2', "FILE:3: route 1: workers: not allowed inside [[route]]"),
    ('[[route]]\npath = "/a"\nexact = "/a"\nupstream = "a:1"', "FILE:3: route 1: exact: path is there too"),
    ('[[route]]\npath = "/a"\n[[route]]\npath = "/a"', "route 2: matches the same requests as route 1"),
    ('[[route]]\nexact = "/a"\n[[route]]\nexact = "/a"', "route 2: matches the same requests as route 1"),
    ('[[route]]\npath = "/a"', "route /a: does not say how to respond; add upstream, redirect"),
    ('[[route]]\npath = "/a/{B}"', "FILE:2: route 1: path = \"/a/{B}\": '{B}' has braces around no name"),
    ('[[route]]\npath = "/{a}-{b}"', "'{a}-{b}' has more than one variable; a segment may have one"),
    ('[[route]]\nexact = "/{a}/{a}"', "two variables have the same name; rename one"),
    ('[[route]]\npath = "/{a}"\n[[route]]\npath = "/{b}"', "route /{b}: matches the same requests as route /{a}"),
    ('[[route]]\nfield = { A = "1" }\n[[route]]\nfield = { A = "2" }', "route / field:A: duplicate name; add a"),
    ('[[route]]\nmethod = "get"\nrespond = "x"', "FILE:2: route 1: method = \"get\": 'get' is not a method; they are"),
    ('[[route]]\nmethod = []\nrespond = "x"', "method = []: empty list; leave it out to match all methods"),
    ('[[route]]\nfield = "a"\nrespond = "x"', 'field = "a": expected a table of names and values, such as { version'),
    ('[[route]]\nfield = { Host = "x" }', "Host: a client's field of this name is never forwarded as it is"),
    ('[[route]]\nfield = { X_A = "x" }', "X_A: a client's field of this name is never forwarded as it is"),
    ('[[route]]\nfield = { Cookie = "x" }', 'Cookie: name the cookie, as in cookie = { NAME = "*" }'),
    ('[[route]]\nquery = { a = 1 }', 'query = {"a": 1}: a: expected text in ASCII as the value, such as "2"'),
    ('[[route]]\ncookie = { "a b" = "1" }', "'a b' is not a cookie's name"),
    ('[[route]]\npath = "/{path}"', '{path} is a placeholder of its own; give the variable another name'),
    ('redirect = "/{usr}"', 'FILE:1: redirect = "/{usr}": unknown placeholder {usr}; did you mean {user}? or w'),
    ('respond = "{nothing}"', "unknown placeholder {nothing}; known are {user}, {client}, {tls_client_subject}"),
    ('[[route]]\npath = "/{id}"\nrespond = "x"\nset_response_fields = { X-A = "{idd}" }',
     'FILE:4: route 1: set_response_fields = {"X-A": "{idd}"}: X-A has unknown placeholder {idd}; did you mean {id}?'),
    ('upstream = "a:1"\nset_request_fields = { X-A = "{User}" }', "X-A has unknown placeholder {User}; did you mean {"),
    ('upstream = "a:1"\nrewrite = "{client}/"', 'rewrite = "{client}/": expected a path that begins with /'),
    ('upstream = "a:1"\nrewrite = "/{"', "single brace; braces must enclose the name of a placeholder"),
    ('upstream = "a:1"\nrewrite = "/{user}"', "rewrite has {user}, and no user is known here; add basic_auth"),
    ('upstream = "a:1"\nrewrite = "/x"\nstrip_prefix = true', "rewrite and strip_prefix exclude each other; {rest}"),
    ('respond = "x"\nrewrite = "/x"', "rewrite changes what an upstream is asked for; add upstream, or remove it"),
    ('upstream = "a:1"\ninternal = true', "internal serves files to upstreams' X-Accel-Redirect; add root"),
    ('[[route]]\nupstream = "a:1"\nsendfile_root = "/none"', "route /: sendfile_root /none: no such directory; cor"),
    ('upstream = "a:1"\ncache = true', "cache needs a directory for what it stores; add state_dir or cache_dir"),
    ('[[route]]\nupstream = "a:1"\ncache = true', "route /: cache needs a directory for what it stores; add"),
    ('upstream = "a:1"\ncache_ttl = 5', "cache_ttl has no effect without cache; add cache = true, or remove cache_ttl"),
    ('upstream = "a:1"\ncache = true\ncache_size = 0', "cache_size = 0: 0 does not mean 'no limit' here"),
    ('upstream = "a:1"\nfallback = "/x"', "fallback has no effect without root; add it, or remove fallback"),
    ('root = "/tmp"\nupstream = "a:1"\nfallback = "/x"', "fallback and upstream exclude each other: the upstream gets"),
    ('respond = "{path}"\nrespond_type = "text/css"', "respond has {path}, which cannot be escaped in text/css"),
    ('upstream = "a:1"\nset_response_fields = { Location = "{path}" }', "Location: {path} would let a client's"),
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
        (["[::1]:80 weight=3"], b"[::1]"),
        (["unix:/run/app.sock"], b"localhost"),
        (["app.internal:80"], b"app.internal"),
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
            routes.route_for(b"a.example", target, b"GET", NO_FIELDS)
        assert refusal.value.failure.reason == "target_path"
    else:
        route = routes.route_for(b"a.example", target, b"GET", NO_FIELDS)
        assert route is not None
        assert route.name == name


@pytest.mark.parametrize(
    ("specs", "target", "name"),
    [
        (["/u/{name}", "/"], b"/u/bob/a/../b", "/u/{name}"),
        (["/u/{name}", "/"], b"/u/bob/../b", None),
        (["/u/{name}", "/"], b"/u/%62ob/a/../b", None),
        (["/u/{name}", "/u/bob"], b"/u/bob/a/../b", "/u/bob"),
        (["/u/{name}", "/u/{name}/x"], b"/u/bob/a/../b", "/u/{name}"),
        (["/u/{name}", "/u/{name}/x"], b"/u/bob/x/../b", None),
        (["/u/{name}", "/u/{name}/{file}.txt="], b"/u/bob/a/../b", None),
        (["/", "/v{number}/x"], b"/a/../b", None),
        (["/a/", "/{b}"], b"/a/x/../b", "/a/"),
        (["/a/", "/{b}/{c}"], b"/a/x/../b", None),
        (["/a/", "/b{c}/{d}"], b"/a/x/../b", "/a/"),
        (["/a/", "/{b}="], b"/a/x/../b", None),
    ],
)
def test_patterns_are_met_by_what_they_might_take(specs: list[str], target: bytes, name: str | None) -> None:
    routes = tables(*specs, passing=tuple(specs))
    if name is None:
        with pytest.raises(ExchangeError):
            routes.route_for(None, target, b"GET", NO_FIELDS)
    else:
        route = routes.route_for(None, target, b"GET", NO_FIELDS)
        assert route is not None
        assert route.name == name


def test_a_route_that_asks_for_something_else_is_not_met() -> None:
    made = [match("/"), asking("admin", "/admin", methods=["POST"])]
    object.__setattr__(made[0].route, "settings", Settings(dot_segments="pass"))
    routes = Tables(Settings(), HeadLimits(dots=True), made)
    assert routes.route_for(None, b"/x/../admin", b"GET", NO_FIELDS) is made[0].route
    with pytest.raises(ExchangeError):
        routes.route_for(None, b"/x/../admin", b"POST", NO_FIELDS)


def test_an_exact_route_at_the_same_path_might_be_met() -> None:
    routes = tables("/files", "/files=", passing=("/files",))
    with pytest.raises(ExchangeError):
        routes.route_for(None, b"/files/a/..", b"GET", NO_FIELDS)


def test_a_route_of_a_wider_host_is_not_met() -> None:
    routes = tables("a.example/", "/", passing=("a.example/",))
    route = routes.route_for(b"a.example", b"/a//../b/", b"GET", NO_FIELDS)
    assert route is not None
    assert route.name == "a.example/"


def test_the_only_route_may_pass_them_or_not() -> None:
    route = tables("/", passing=("/",)).route_for(None, b"/a/../b", b"GET", NO_FIELDS)
    assert route is not None
    with pytest.raises(ExchangeError):
        tables("/", passing=()).route_for(None, b"/a/../b", b"GET", NO_FIELDS)
    with pytest.raises(ExchangeError):
        tables("a.example/", passing=("a.example/",)).route_for(b"b.example", b"/a/../b", b"GET", NO_FIELDS)


DOTTED = st.sampled_from(
    [b"/", b"..", b".", b"%2e", b"%2E.", b"%2f", b"\\", b"%5C", b";", b"admin", b"%61dmin", b"x", b"//"]
)


@given(st.lists(DOTTED, max_size=9))
def test_no_spelling_with_dots_passes_a_stricter_route(parts: list[bytes]) -> None:
    routes = tables("/", "/admin", passing=("/",))
    target = b"/" + b"".join(parts)
    try:
        route = routes.route_for(None, target, b"GET", NO_FIELDS)
    except ExchangeError:
        return
    assert route is not None
    if route.name == "/" and has_dot_segment(target):
        path = unquote_to_bytes(target)
        for read in (path, path.replace(b"\\", b"/")):
            assert posixpath.normpath(read).lstrip(b"/").split(b"/")[0] != b"admin"
