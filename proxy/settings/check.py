"""Checks of settings that are each well-formed, but do not fit together or do not fit this machine."""

import grp
import os
import pwd
import socket
from collections.abc import Container
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from proxy.settings.pages import load_pages
from proxy.settings.table import TABLE, WAYS, RouteSettings, Settings, serves_itself
from proxy.settings.tls_check import tls_problems
from proxy.settings.users import read_users
from proxy.settings.values import Address, kinds, template
from proxy.settings.values.logged import datagrams_to

_ESCAPED = ("text/plain", "text/html", "application/json", "application/xml", "text/xml")
"""Content types in which parts of a request can be put safely (`proxy.filters.template`)."""

_EVERYWHERE = ("0.0.0.0", "::")
_time = kinds.DURATION.show


def problems(settings: Settings, served: Container[Path] = ()) -> list[str]:
    """The mistakes, one line each, with the fix. Certificate files that are already `served` need not be readable any
    more."""
    own = _own(settings)
    return [
        *_upstream_problems(settings),
        *_address_problems(settings, own),
        *tls_problems(settings),
        *_asked_problems(settings),
        *_limit_problems(settings),
        *_tracing_problems(settings),
        *_response_problems(settings),
        *_auth_problems(settings),
        *_upstream_tls_problems(settings),
        *_machine_problems(settings, served),
        *(
            f"route {route.name}: {problem}"
            for route in settings.routes
            for problem in _route_problems(route, settings)
        ),
    ]


def is_own_address(address: Address, settings: Settings) -> bool:
    """Whether an upstream's address is one that the gateway itself listens on: requests would loop."""
    return any(_leads_to(address.place, listener) for listener in _own(settings))


def _own(settings: Settings) -> list[Address]:
    control = Address(path=settings.admin_socket) if settings.admin_socket.startswith("/") else None
    return [
        address
        for address in (*settings.bind, *settings.bind_plain, settings.admin, control)
        if address and (address.port or address.path)
    ]


def _upstream_problems(settings: Settings) -> list[str]:
    everywhere = (settings, *(route.settings for route in settings.routes))
    peers = {peer.address for one in everywhere for peer in one.upstream}
    return [
        f"--upstream {address}: is the gateway's own address; use the application's"
        for address in peers
        if is_own_address(address, settings)
    ]


def _asked_problems(settings: Settings) -> list[str]:
    """Of the service that is asked for which names certificates may be ordered."""
    url = settings.on_demand_ask
    if not url:
        return []
    parts = urlsplit(url)
    asked = Address(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    if not is_own_address(asked, settings):
        return []
    return [f"--on-demand-ask {url}: is the gateway's own address; use that of the service itself"]


def _leads_to(address: Address, listener: Address) -> bool:
    """Whether a connection to an address of this machine reaches that listener; [::] accepts IPv4 too."""
    if address == listener or address.port != listener.port:
        return address == listener
    takes = (socket.AF_INET, socket.AF_INET6) if listener.host == "::" else (socket.AF_INET,)
    local = address.loopback or address.host in _EVERYWHERE
    return listener.host in _EVERYWHERE and local and address.family in takes


def _address_problems(settings: Settings, own: list[Address]) -> list[str]:
    found = []
    if settings.admin in (*settings.bind, *settings.bind_plain) and settings.admin in own:
        found.append(f"--admin {settings.admin}: is also a --bind address; choose another port, or 'off'")
    found += [
        f"--bind-plain {address}: is also a --bind address; remove one of them"
        for address in settings.bind_plain
        if address in settings.bind and address in own
    ]
    found += [
        f"--{'admin' if address == settings.admin else 'bind'} {address}: {other} accepts the same connections; "
        "remove one of them"
        for address in own
        for other in own
        if address != other and _leads_to(address, other)
    ]
    if settings.admin and not settings.admin.loopback and not settings.admin_token_file:
        found.append(
            f"--admin {settings.admin}: reachable from other machines; add --admin-token-file, or use a loopback "
            "address such as 127.0.0.1:9180, or a unix socket"
        )
    if settings.proxy_protocol and not settings.trusted_proxies.networks and not settings.trusted_proxies.unix:
        found.append("--proxy-protocol on: would be believed of no client; add --trusted-proxies")
    return found


def _limit_problems(settings: Settings) -> list[str]:
    found = []
    if settings.websocket_drain > settings.graceful:
        found.append(
            f"--websocket-drain {_time(settings.websocket_drain)}: longer than --graceful "
            f"{_time(settings.graceful)}; lower the first or raise the second"
        )
    found += [
        f"{TABLE[name].flag} {getattr(settings, name)}: larger than --max-head {settings.max_head}; "
        "lower the first or raise the second"
        for name in ("max_request_line", "max_field")
        if getattr(settings, name) > settings.max_head
    ]
    return found


def _tracing_problems(settings: Settings) -> list[str]:
    if not settings.trace_collector:
        return []
    found = []
    if not settings.tracing:
        found.append(f"--trace-collector {settings.trace_collector}: no spans are made; add --tracing on, or remove it")
    if not _has_opentelemetry():
        found.append(
            f"--trace-collector {settings.trace_collector}: needs OpenTelemetry's libraries; "
            "pip install 'aragora-gateway[tracing]'"
        )
    return found


def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ImportError:
        return False


def _route_problems(route: RouteSettings, top: Settings) -> list[str]:
    settings = route.settings
    found = []
    if not settings.upstream and not serves_itself(settings):
        found.append("does not say how to respond; add upstream, redirect, respond, root or gateway_health")
    found += _response_problems(settings, top)
    found += _upstream_tls_problems(settings, top)
    for key in ("basic_auth", "root", "sendfile_root"):
        path = getattr(settings, key)
        if path and path != getattr(top, key):
            found += _unreadable(key, path)
    return found


def _response_problems(settings: Settings, known: Settings | None = None) -> list[str]:
    """Mistakes in how requests are answered, without those that were already reported for `known`."""
    found = []
    unlike = settings.dot_segments == "pass" and settings.forward_auth
    if unlike and not (known and known.dot_segments == "pass" and known.forward_auth):
        found.append(
            "dot_segments and forward_auth: the service and the application may see different paths; remove one"
        )
    if settings.rewrite and not settings.upstream and not (known and known.rewrite == settings.rewrite):
        found.append("rewrite changes what an upstream is asked for; add upstream, or remove it")
    reported = _template_problems(known) if known else []
    found += [problem for problem in _template_problems(settings) if problem not in reported]
    ways = [key for key in WAYS if getattr(settings, key)]
    if len(ways) > 1 and set(ways) != {"upstream", "root"}:
        found.append(f"{ways[0]} and {ways[1]} exclude each other; remove one")
    if settings.fallback and not (known and known.fallback == settings.fallback):
        if settings.root is None:
            found.append("fallback has no effect without root; add it, or remove fallback")
        elif settings.upstream:
            found.append("fallback and upstream exclude each other: the upstream gets what is no file; remove one")
    if settings.listing and not (known and known.listing == settings.listing):
        found += _listing_problems(settings)
    if (settings.cache and not (known and known.cache)) or (settings.cache_ttl and not (known and known.cache_ttl)):
        found += _cache_problems(settings)
    if settings.internal and settings.root is None and not (known and known.internal):
        found.append("internal serves files to upstreams' X-Accel-Redirect; add root, or remove internal")
    every_page = settings.cors_credentials and "*" in settings.cors_origins
    if every_page and not (known and known.cors_credentials and known.cors_origins == settings.cors_origins):
        found.append(
            'cors_credentials with cors_origins = "*" would let any page act for its visitors; list the origins'
        )
    pages = (settings.error_pages, settings.maintenance_page)
    if known is None or pages != (known.error_pages, known.maintenance_page):
        found += _page_problems(settings)
    return found


def _cache_problems(settings: Settings) -> list[str]:
    if not settings.cache:
        return ["cache_ttl has no effect without cache; add cache = true, or remove cache_ttl"]
    if settings.cache_place is None:
        return ["cache needs a directory for what it stores; add state_dir or cache_dir at the top level"]
    return []


def _listing_problems(settings: Settings) -> list[str]:
    if settings.root is None:
        return ["listing has no effect without root; add it, or remove listing"]
    if settings.upstream:
        return ["listing and upstream exclude each other: the upstream gets what is no file; remove one"]
    if settings.internal:
        return ["listing and internal exclude each other: internal files are named one by one; remove one"]
    return []


def _template_problems(settings: Settings) -> list[str]:
    """Placeholders where they cannot be filled safely."""
    found = []
    if settings.rewrite and settings.strip_prefix:
        found.append("rewrite and strip_prefix exclude each other; {rest} in rewrite is the path without the prefix")
    if "user" in template.names(settings.rewrite) and not knows_user(settings):
        found.append(
            "rewrite has {user}, and no user is known here; add basic_auth, or forward_auth with X-Forwarded-User "
            "among forward_auth_fields"
        )
    kind = settings.respond_type.partition(";")[0].strip().lower()
    told = template.names(settings.respond)
    if told and not (kind in _ESCAPED or kind.endswith(("+json", "+xml"))):
        found.append(
            f"respond has {{{told[0]}}}, which cannot be escaped in {kind}; remove it, or use one of these for "
            f"respond_type: {', '.join(_ESCAPED)}"
        )
    return found


def knows_user(settings: Settings) -> bool:
    """Whether requests have a user: {user} stands for it."""
    return bool(settings.basic_auth) or "x-forwarded-user" in map(str.lower, settings.forward_auth_fields)


def _page_problems(settings: Settings) -> list[str]:
    found = []
    for key, pages in (
        ("error_pages", (settings.error_pages, None)),
        ("maintenance_page", (None, settings.maintenance_page)),
    ):
        try:
            load_pages(*pages)
        except ValueError as problem:
            found.append(f"{key} {problem}")
    return found


def _auth_problems(settings: Settings) -> list[str]:
    found = []
    everywhere = [settings, *(route.settings for route in settings.routes)]
    for path in {one.basic_auth for one in everywhere if one.basic_auth is not None and one.basic_auth.is_file()}:
        try:
            read_users(path)
        except ValueError as problem:
            found.append(f"--basic-auth {path}: {problem}")
    return found


def _upstream_tls_problems(settings: Settings, known: Settings | None = None) -> list[str]:
    """Mistakes in how upstreams are addressed and verified, without those that were already reported for `known`."""
    found = []
    pair = (settings.upstream_cert, settings.upstream_key)
    if bool(pair[0]) != bool(pair[1]) and (known is None or pair != (known.upstream_cert, known.upstream_key)):
        given, missing = ("cert", "key") if pair[0] else ("key", "cert")
        found.append(f"upstream_{given} {pair[0] or pair[1]}: needs the other file of the pair; add upstream_{missing}")
    fixed = settings.upstream_host != "client" and any(
        name.lower() == "host" for name, _ in settings.set_request_fields
    )
    if fixed and (known is None or settings.upstream_host != known.upstream_host):
        found.append(f"upstream_host {settings.upstream_host}: set_request_fields sets Host too; remove one of them")
    shared = [peer for peer in settings.upstream if peer.address.multiplexed]
    if shared and settings.proxy_protocol_out != "off" and (known is None or shared != list(known.upstream)):
        found.append(
            f"proxy_protocol_out {settings.proxy_protocol_out}: stands for one client on a connection, and upstream "
            f"{shared[0]} shares them; remove one of the two"
        )
    return found


def _unreadable(key: str, path: Path) -> list[str]:
    kind = "directory" if key in ("root", "sendfile_root") else "file"
    if not (path.is_dir() if kind == "directory" else path.is_file()):
        return [f"{key} {path}: no such {kind}; correct the path"]
    return [] if os.access(path, os.R_OK) else [f"{key} {path}: cannot be read; change its permissions"]


def _machine_problems(settings: Settings, served: Container[Path]) -> list[str]:
    found: list[str] = []
    if settings.spool_dir is not None and not os.access(settings.spool_dir, os.W_OK | os.X_OK):
        found.append(f"--spool-dir {settings.spool_dir}: not a writable directory; create it")
    for flag, file in (
        ("--pidfile", settings.pidfile),
        ("--access-log", settings.access_log),
        ("--error-log", settings.error_log),
    ):
        if file and file not in ("-", "off") and datagrams_to(str(file)) is None:
            if not Path(file).parent.is_dir():
                found.append(f"{flag} {file}: no directory {Path(file).parent}; create it")
            elif not os.access(Path(file).parent, os.W_OK | os.X_OK):
                found.append(
                    f"{flag} {file}: {Path(file).parent} is not writable for this account; use another directory"
                )
            elif Path(file).is_dir():
                found.append(f"{flag} {file}: is a directory; name a file")
    for key in ("basic_auth", "root", "sendfile_root", "tls_cert", "tls_key", "tls_client_ca", "acme_ca"):
        path = getattr(settings, key)
        if path and path not in served:
            found += [f"{TABLE[key].flag} {problem.partition(' ')[2]}" for problem in _unreadable(key, path)]
    for number, one in enumerate(settings.certificates[1 if settings.tls_cert else 0 :], 1):
        for key, path in (("cert", one.cert), ("key", one.key)):
            found += _unreadable(f"certificate {number}: {key}", path) if path not in served else []
    for flag, name, kind, known in (
        ("--user", settings.user, "user", _known_user),
        ("--group", settings.group, "group", _known_group),
        ("--admin-group", settings.admin_group, "group", _known_group),
    ):
        if name and not known(name):
            found.append(f"{flag} {name}: no such {kind} on this machine; create it or use another")
    if (
        (settings.user or settings.group)
        and os.geteuid() != 0
        and (settings.user != pwd.getpwuid(os.geteuid()).pw_name)
    ):
        found.append("--user/--group: only root can change user; start as root or remove them")
    return found


def _known_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def _known_group(name: str) -> bool:
    try:
        return bool(grp.getgrnam(name))
    except KeyError:
        return False
