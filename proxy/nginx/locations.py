"""Locations: each becomes a route, or several."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.nginx import access, caching, fields, upstreams, variables
from proxy.nginx.blocks import Directive, Scope
from proxy.nginx.directives import ROUTED, TOP, remark, simple
from proxy.nginx.report import Section
from proxy.nginx.servers import leads_to_https

_LITERAL = re.compile(r"\^(/(?:[\w/-]|\\?\.)*)(\$|\(/\|\$\)|\(\?:/\|\$\))?")
_CHOICE = re.compile(r"\^/\((?:\?:)?([\w|-]+)\)(/|\$|\(/\|\$\)|\(\?:/\|\$\))?")
_HIDDEN = re.compile(r"/\\\.(?:\w+|\(\?!well-known\).*|\*)?$|\(\^\|/\)\\\.|/\\\.ht")
_SUFFIXES = re.compile(r"\\\.\(?[\w|?:()+]*\)?\$?$")
_REDIRECTS = {"301": 301, "302": 302, "303": 303, "307": 307, "308": 308, "permanent": 301, "redirect": 302}
_PAGE = re.compile(r"/[\w./-]+\.html?")
_WHOLE = ("^", "^/", "^(.*)$", "^/(.*)$", "^(.*)", "^/(.*)")
_CACHING = {
    "expires",
    "add_header",
    "access_log",
    "log_not_found",
    "etag",
    "try_files",
    "root",
    "tcp_nodelay",
    "gzip_static",
}
_ELSEWHERE = {
    "uwsgi_pass": "uWSGI's protocol is not spoken: let uWSGI serve HTTP (http-socket), or use gunicorn",
    "fastcgi_pass": "FastCGI is not spoken: PHP needs a web server of its own",
    "scgi_pass": "SCGI is not spoken",
    "memcached_pass": "memcached is not spoken",
    "stub_status": "metrics and the status page are at the admin address",
}
KNOWN = {
    *ROUTED, *TOP, *_ELSEWHERE, *caching.KNOWN,
    "location", "server", "upstream", "map", "set", "if", "listen", "server_name", "return", "rewrite",
    "proxy_pass", "grpc_pass", "root", "alias", "index", "try_files", "autoindex", "internal", "proxy_set_header",
    "proxy_hide_header", "add_header", "expires", "allow", "deny", "satisfy", "auth_basic", "auth_basic_user_file",
    "auth_request", "auth_request_set", "limit_req", "limit_req_zone", "limit_conn", "limit_conn_zone",
    "default_type", "error_page", "access_log", "error_log", "log_format", "ssl_certificate", "ssl_certificate_key",
    "ssl_protocols", "ssl_client_certificate", "ssl_verify_client", "set_real_ip_from", "real_ip_header",
    "worker_processes", "worker_connections", "http", "limit_req_status", "limit_conn_status",
    "proxy_ssl_trusted_certificate", "proxy_ssl_name", "proxy_ssl_certificate", "proxy_ssl_certificate_key",
    "grpc_ssl_trusted_certificate", "grpc_ssl_name", "grpc_ssl_certificate", "grpc_ssl_certificate_key",
    "grpc_set_header",
}  # fmt: skip
"""Directives that are looked at where their meaning is known; all others get a remark."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the locations of one server have in common: the hosts of its routes, none for the default server."""

    hosts: list[str]
    names: list[str]
    block: tuple[Directive, ...]


def routes(site: Site, scope: Scope) -> Iterator[Section]:
    """The routes of a server, whose block is the scope's innermost."""
    before = next((one for one in site.block if one.name in ("return", "rewrite") and _ends(one)), None)
    if before is not None:
        section = _section(site, "path", "/")
        _returned(before, section, scope, site)
        yield section
        return
    whole = False
    for location in _flat(site.block):
        for section in _location(location, site, scope):
            whole = whole or section.values.get("path") == "/"
            yield section
    if whole:
        section = Section()
        _leftovers(scope, section)
    else:
        section = _section(site, "path", "/")
        _served(scope, section, site)
    yield section


def _ends(directive: Directive, path: str = "/") -> bool:
    """Whether a `return` or `rewrite` answers every request of a path."""
    if directive.name == "return":
        return True
    whole = (*_WHOLE, f"^{path}(.*)$", f"^{path}(.*)") if path.endswith("/") else _WHOLE
    return directive.args[0] in whole and directive.args[-1] in _REDIRECTS


def _flat(block: tuple[Directive, ...]) -> Iterator[Directive]:
    """Locations, and those inside them."""
    for one in block:
        if one.name == "location":
            yield one
            yield from _flat(one.block or ())


def _section(site: Site, key: str, path: str) -> Section:
    values = {"host": list(site.hosts)} if site.hosts else {}
    return Section("route", {**values, key: path})


def _location(location: Directive, site: Site, around: Scope) -> Iterator[Section]:
    block = location.block or ()
    mark, path = location.args if len(location.args) > 1 else ("", location.value)
    inside = {one.name for one in block}
    if any(one.args == (path,) for one in _every(site.block, "auth_request")):
        return  # its address is that of the service
    if path.startswith("@") or "internal" in inside:
        section = Section()
        if not any(path in one.args for one in _every(site.block, "try_files")):
            section.lost(location, "requests are not passed on from one location to another")
        yield section
        return
    if re.search(r"[{}*]", path) and mark not in ("~", "~*"):
        section = Section()
        section.lost(location, "braces and * in a path are variable parts here")
        yield section
        return
    if mark not in ("~", "~*"):
        key = "exact" if mark == "=" else "path"
        yield _filled(_section(site, key, path), location, site, around)
        return
    paths = _paths(path)
    for key, literal in paths:
        yield _filled(_section(site, key, literal), location, site, around)
    if not paths:
        yield _pattern(location, path, inside)


def _every(block: tuple[Directive, ...], name: str) -> Iterator[Directive]:
    for one in block:
        if one.name == name:
            yield one
        yield from _every(one.block or (), name)


def _paths(pattern: str) -> list[tuple[str, str]]:
    """The routes that a regular expression stands for, if it is a path or a choice of names."""
    literals = [_LITERAL.fullmatch(one) for one in ([pattern] if "(" in pattern else pattern.split("|"))]
    if all(literals):
        return [("exact" if one[2] == "$" else "path", one[1].replace("\\.", ".")) for one in literals if one]
    if found := _CHOICE.fullmatch(pattern):
        end = "/" if found[2] == "/" else ""
        return [("exact" if found[2] == "$" else "path", f"/{name}{end}") for name in found[1].split("|")]
    return []


def _pattern(location: Directive, pattern: str, inside: set[str]) -> Section:
    section = Section()
    if _HIDDEN.search(pattern) and inside & {"deny", "return"}:
        section.needless(location, "files whose names begin with a dot are never served")
    elif _SUFFIXES.search(pattern) and inside <= _CACHING:
        section.lost(
            location,
            "a suffix is no route: give the directory of these files a route, or let the application set fields",
        )
    else:
        section.lost(location, "regular expressions are not matched: give each path a route")
    return section


def _filled(section: Section, location: Directive, site: Site, around: Scope) -> Section:
    """The section with everything that holds in a location."""
    scope = around.within(location.block or ())
    path = str(section.values.get("path", ""))
    if path and not path.endswith("/") and location.args[0] not in ("~", "~*"):
        section.different(location, f"{path}x is another path here: a route's path ends where a segment ends")
    returned = next((one for one in scope.own if one.name in ("return", "rewrite") and _ends(one, path)), None)
    if returned is not None:
        _returned(returned, section, scope, site)
    else:
        _served(scope, section, site)
    return section


def _served(scope: Scope, section: Section, site: Site) -> None:
    """A route to an application, to files, or to an application for what is no file."""
    behind = _behind(scope, site)
    if behind is not None:
        _files_before(scope, section, site)
        _leftovers(scope, section)
        scope = scope.within(behind)
    local = Scope(scope.blocks[:-1]) if len(scope.blocks) > 1 else scope  # what holds everywhere is at the top level
    passed = next((one for one in scope.own if one.name in ("proxy_pass", "grpc_pass")), None)
    module, other = ("grpc", "proxy_") if passed is not None and passed.name == "grpc_pass" else ("proxy", "grpc_")
    simple(local, section, {name: row for name, row in ROUTED.items() if not name.startswith(other)})
    fields.request_fields(scope, section, site.names, module)
    if passed is not None:
        fields.host(passed, scope, section, module)
    fields.response_fields(scope, section, site.names)
    access.access(scope, section, site.block)
    access.rates(scope, section)
    caching.cache(scope, section)
    foreign = next((one for one in scope.own if one.name in _ELSEWHERE), None)
    if passed is not None:
        _proxied(passed, scope, section)
    elif foreign is not None:
        section.lost(foreign, _ELSEWHERE[foreign.name])
        _refuse(section, 501)
    else:
        _files(scope, section, site)
    if section.values.get("upstream") and "read_timeout" in section.values and _upgrades(scope):
        section.values["websocket_timeout"] = section.values["read_timeout"]
    _leftovers(scope, section)


def _behind(scope: Scope, site: Site) -> tuple[Directive, ...] | None:
    """The block of the named location that gets what `try_files` does not find, which nginx does not inherit."""
    tries = next((one for one in scope.own if one.name == "try_files"), None)
    if tries is None:
        return None
    return next((one.block for one in _flat(site.block) if one.args == tries.args[-1:] and one.value[:1] == "@"), None)


def _files_before(scope: Scope, section: Section, site: Site) -> None:
    """The files that `try_files` looks for before the application."""
    tries, root = scope.value("try_files").split(), scope.last("root")
    directive = scope.last("try_files")
    if directive is None or root is None:
        return
    other = [one for one in tries[:-1] if one not in ("$uri", "$uri/", "$uri/index.html")]
    if any(one.name == "alias" for one in scope.own) or _scripts(site) or (other and len(other) == len(tries) - 1):
        section.lost(
            directive, "files and this application on one path: give the files' directories routes of their own"
        )
        return
    if other:
        section.lost(directive, f"only $uri and the index of a directory are looked for, not {other[0]}")
    section.values["root"] = root.value.rstrip("/") or "/"
    index = scope.last("index")
    if len(tries) - len(other) <= 2:  # $uri alone
        section.values["index"] = "off"
    elif index is not None and "$uri/" in tries:
        section.values["index"] = index.args[0]


def _upgrades(scope: Scope) -> bool:
    return any(one.args[0].lower() == "upgrade" for one in scope.every("proxy_set_header"))


def _proxied(passed: Directive, scope: Scope, section: Section) -> None:
    target = upstreams.read_pass(passed, scope, section)
    if target is None:
        _refuse(section, 501)
        return
    upstreams.peers(target, scope, section)
    own = section.values.get("path", section.values.get("exact"))
    if target.path in (None, own):
        return
    if target.path == "/" and "path" in section.values:
        section.values["strip_prefix"] = True
        if str(own) != "/" and not str(own).endswith("/"):
            section.different(passed, "the path without the prefix always begins with one slash")
    elif "exact" in section.values:
        section.values["rewrite"] = target.path or "/"
    elif str(own).endswith("/") == (target.path or "/").endswith("/"):
        section.values["rewrite"] = (target.path or "/").rstrip("/") + "{rest}"
    else:
        section.lost(passed, "a prefix is replaced by one that ends as it does, in a slash or not")


def _files(scope: Scope, section: Section, site: Site) -> None:
    root, alias = scope.last("root"), next((one for one in scope.own if one.name == "alias"), None)
    tries = scope.last("try_files")
    last = tries.args[-1] if tries else ""
    if tries is not None and last.startswith("/"):
        if _PAGE.fullmatch(last) and alias is None and root is not None and {*tries.args[:-1]} <= {"$uri", "$uri/"}:
            section.values["fallback"] = last
            section.different(tries, "a missing file whose name has a dot is 404, unless its client prefers a page")
        else:
            section.lost(tries, "there is no file for paths without one; let the application answer them")
    if root is None and alias is None:
        _refuse(section, 404)
        return
    scripts = _scripts(site)
    if scripts is not None and "path" in section.values:
        section.values.pop("fallback", None)
        section.lost(scripts, "the files are not served, because scripts among them would be sent as text")
        _refuse(section, 501)
        return
    if alias is not None:
        section.values |= {"root": alias.value.rstrip("/") or "/", "strip_prefix": True}
    elif root is not None:
        section.values["root"] = root.value.rstrip("/") or "/"
    index = scope.last("index")
    if index is not None:
        section.values["index"] = index.args[0]
    listing = scope.last("autoindex")
    if listing is not None and listing.value == "on":
        section.values["listing"] = True


def _scripts(site: Site) -> Directive | None:
    """A location whose files are programs."""
    return next((one for one in _flat(site.block) if {inner.name for inner in one.block or ()} & {*_ELSEWHERE}), None)


def _refuse(section: Section, status: int) -> None:
    """What has no translation must not fall to a route with a shorter path."""
    section.values |= {"respond": "Not Found" if status == 404 else "Not Implemented", "respond_status": status}


def _returned(directive: Directive, section: Section, scope: Scope, site: Site) -> None:
    """`return`, and `rewrite` that redirects."""
    fields.response_fields(scope, section, site.names)
    rewriting = directive.name == "rewrite"
    args = (directive.args[2], directive.args[1]) if rewriting else directive.args
    code, address = ("302", args[0]) if args[0].startswith(("http", "$")) else (args[0], " ".join(args[1:]))
    status = _REDIRECTS.get(code, int(code) if code.isdigit() else 0)
    try:
        if status in _REDIRECTS.values():
            own = "{rest}" if str(section.values.get("path", "/")) != "/" else "{path}"
            template = address.replace("/$1", "$1") + "{query}" if rewriting else address
            section.values["redirect"] = variables.as_redirect(template, site.names, own)
            section.values["redirect_status"] = status
        elif status == 444:
            raise variables.UnknownVariableError("connections are not closed without a response")
        else:
            section.values["respond"] = variables.as_field(_unescaped(address), site.names) or f"{status}\n"
            section.values["respond_status"] = status
            default = scope.last("default_type")
            if default is not None and address and "respond_type" not in section.values:
                section.values["respond_type"] = default.value
    except variables.UnknownVariableError as problem:
        section.lost(directive, str(problem))
        _refuse(section, 404 if status == 444 else 501)
    _leftovers(scope, section)


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')


def _leftovers(scope: Scope, section: Section) -> None:
    """Remarks on what no other part has looked at, in the own block of a location or a server."""
    for one in scope.own:
        if one.name == "if" and leads_to_https(one):
            section.different(one, "bind_plain redirects to https by itself")
        elif one.name == "if":
            section.lost(one, "there are no conditions: give each case a route")
        elif one.name == "rewrite" and "redirect" not in section.values:
            section.lost(one, "only a whole prefix is replaced: rewrite")
        elif one.name == "access_log" and one.value == "off" and section.title:
            section.values["log_requests"] = False
        elif one.name in ("access_log", "error_log"):
            section.different(one, "there is one log for all routes")
        everywhere(one, section)


def everywhere(directive: Directive, section: Section) -> None:
    """A remark on a directive that any block may have, if it needs one."""
    if directive.name == "error_page":
        section.lost(
            directive,
            "pages of the gateway's own errors are files in the directory error_pages; those of the application are "
            "never replaced",
        )
    elif directive.name == "limit_conn":
        section.different(directive, "max_client_connections is a limit for the whole gateway")
    remark(directive, section, KNOWN)
