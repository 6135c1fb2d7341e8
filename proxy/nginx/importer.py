"""A whole file of nginx as one of the gateway."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from proxy.nginx.blocks import Directive, Scope, read_nginx
from proxy.nginx.caching import cache_path
from proxy.nginx.directives import ROUTED, TOP, remark, simple
from proxy.nginx.locations import KNOWN, Site, everywhere, routes
from proxy.nginx.report import Section, rendered
from proxy.nginx.servers import Server, certificates, listen, read_server, tls_options

_LEVELS = {"notice": "info", "warn": "warning", "crit": "critical", "alert": "critical", "emerg": "critical"}
_GENERAL = (
    "requests with ambiguous framing, and paths with dot segments, are refused: docs/supported-http.md",
    "a request waits up to retry_wait (10s) while the application restarts; nginx answers 502 at once",
)


@dataclass(frozen=True, slots=True)
class Imported:
    """The gateway's file, and how many lines of nginx's have no equivalent in it."""

    text: str
    losses: int


def import_nginx(path: Path) -> Imported:
    """Translate a file. Raises `NginxFileError`."""
    directives, missing = read_nginx(path)
    top = Section()
    for text in _GENERAL:
        top.different(None, text)
    for file in missing:
        top.lost(Directive("include", (file,), str(path)), "the file is not there; import it where it is")
    whole = next((one.block for one in directives if one.name == "http" and one.block is not None), None)
    outside = [one for one in directives if one.name != "http"] if whole is not None else []
    block = directives if whole is None else whole
    scope = Scope((block,))
    servers = [read_server(one, top) for one in block if one.name == "server"]
    if not servers:
        top.lost(Directive("server", (), str(path)), "there is no server block")
    _process([*outside, *(one for one in block if one.name == "proxy_cache_path"), *_logs(block, servers)], top)
    for one in outside:
        for within in one.block or ():
            _events(within, top)
    listen(servers, top)
    _trusted(servers, scope, top)
    simple(scope, top, ROUTED)
    simple(Scope((block, tuple(outside))), top, TOP)
    if scope.last("client_max_body_size") is None:
        top.values["max_body"] = "1m"
        top.different(None, "without max_body the gateway accepts 50m; nginx accepts 1m")
    sections = certificates(servers, top)
    for server in servers:
        tls_options(server, top)
    for one in outside:
        remark(one, top, KNOWN | {"events"})
    for one in block:
        everywhere(one, top)
        if one.name == "map" and not one.args[1].endswith("connection_upgrade"):
            top.lost(one, "there are no maps")
    for server in _served(servers):
        site = Site(_hosts(server, servers), list(server.names), server.block)
        inner = scope.within(server.block)
        found = list(routes(site, inner))
        sections += found
    sections = _distinct(sections, top)
    return Imported(rendered([top, *sections]), sum(one.losses for one in (top, *sections)))


def _logs(block: Sequence[Directive], servers: list[Server]) -> Iterator[Directive]:
    """Where the logs go, of all servers or of the only one that says so."""
    for name in ("access_log", "error_log"):
        general = [one for one in block if one.name == name]
        own = [one for server in servers for one in server.block if one.name == name]
        yield from general or (own[:1] if len({one.value for one in own}) == 1 else [])


def _served(servers: list[Server]) -> list[Server]:
    """The servers that get routes: not those whose redirect to https the gateway does by itself."""
    secure = any(server.secure for server in servers)
    return [server for server in servers if not (secure and server.only_redirects)]


def _hosts(server: Server, servers: list[Server]) -> list[str]:
    """The hosts of a server's routes: none for the one that answers names that no other has."""
    served = _served(servers)
    chosen = next((one for one in served if any(listener.default for listener in one.listeners)), served[0])
    return [] if server is chosen else list(server.names)


def _distinct(sections: list[Section], top: Section) -> list[Section]:
    """Without routes for the same requests as an earlier one, which the gateway would refuse."""
    known = set()
    kept = []
    for section in sections:
        values = section.values
        hosts = values.get("host")
        for host in hosts if isinstance(hosts, list) else ["*"]:
            matched = (host, values.get("path"), values.get("exact"))
            if section.title == "route" and matched in known:
                place = values.get("path") or values.get("exact")
                top.lost(
                    Directive("location", (str(place),), host), "another server or location has the same host and path"
                )
                break
            known.add(matched)
        else:
            kept.append(section)
    return kept


def _trusted(servers: list[Server], scope: Scope, top: Section) -> None:
    lines = [one for block in (*(server.block for server in servers), *scope.blocks) for one in block]
    trusted = [one.value for one in lines if one.name == "set_real_ip_from"]
    if trusted:
        top.values["trusted_proxies"] = ["unix" if one == "unix:" else one for one in dict.fromkeys(trusted)]
    for one in lines:
        if one.name == "real_ip_header" and one.value.lower() not in ("x-forwarded-for", "proxy_protocol"):
            top.different(one, "the client is found in X-Forwarded-For or Forwarded, which the same proxies send")


def _log_place(written: str) -> str:
    """Where nginx's access log goes; the port of a syslog server may be left out."""
    if not written.startswith("syslog:server="):
        return written.replace("/dev/stdout", "-")
    server = written.removeprefix("syslog:server=").partition(",")[0]
    named = server.startswith("unix:") or ":" in server.rpartition("]")[2]
    return f"syslog:{server}" if named else f"syslog:{server}:514"


def _process(directives: list[Directive], top: Section) -> None:
    """What holds for the whole gateway."""
    for one in directives:
        if one.name == "worker_processes" and one.value != "auto":
            top.values["workers"] = int(one.value)
        elif one.name == "access_log":
            top.values["access_log"] = "off" if one.value == "off" else _log_place(one.args[0])
            if len(one.args) > 1 and one.args[1] != "combined":
                top.different(
                    one, "lines have nginx's combined format with the gateway's fields after it, or JSON (log_format)"
                )
        elif one.name == "proxy_cache_path":
            cache_path(one, top)
        elif one.name == "error_log" and one.args[0] not in ("stderr", "/dev/stderr"):
            top.values["error_log"] = one.args[0]
        if one.name == "error_log" and len(one.args) > 1:
            top.values["log_level"] = _LEVELS.get(one.args[1], one.args[1])


def _events(directive: Directive, top: Section) -> None:
    if directive.name == "worker_connections":
        top.values["max_connections"] = int(directive.value)
        top.different(directive, "clients' connections count, not those to applications")
