"""`upstream` blocks, `proxy_pass` and `grpc_pass`: the application's addresses, and how one is chosen."""

import re
from dataclasses import dataclass

from proxy.nginx import variables
from proxy.nginx.blocks import Directive, Scope
from proxy.nginx.directives import NEEDLESS, seconds
from proxy.nginx.report import Section
from proxy.settings.values import Peer

_PASS = re.compile(
    r"(?:(?P<scheme>https?|grpcs?)://)?(?P<where>unix:[^:\s]+|\[[^\]]+\](?::\d+)?|[^/:\s]+(?::\d+)?):?(?P<path>/.*)?"
)
_HASHED = {"$remote_addr": "client", "$binary_remote_addr": "client"}
_SPOKEN = {"http": "", "https": "https://", "grpc": "h2c://", "grpcs": "h2://"}
_SECURE = ("https", "grpcs")
_TLS = {
    "ssl_trusted_certificate": "upstream_ca",
    "ssl_name": "upstream_name",
    "ssl_certificate": "upstream_cert",
    "ssl_certificate_key": "upstream_key",
}
_KNOWN = {"server", "least_conn", "ip_hash", "hash", "random", "sticky", "keepalive", "keepalive_timeout"}


@dataclass(frozen=True, slots=True)
class Passed:
    """Where `proxy_pass` or `grpc_pass` leads; `path` is None if it has none, then the request's own is sent."""

    scheme: str
    where: str
    path: str | None


def read_pass(directive: Directive, scope: Scope, section: Section) -> Passed | None:
    """The target of a `proxy_pass` or `grpc_pass`, its variables of `set` and `map` replaced; None if there is no
    equivalent."""
    value = directive.value
    for block in scope.blocks:
        for one in block:
            if one.name == "set" and len(one.args) == 2:
                value = re.sub(rf"{re.escape(one.args[0])}(?!\w)|\$\{{{one.args[0][1:]}\}}", one.args[1], value)
    value = re.sub(r"\$(?:request_uri|uri\$is_args\$args)$", "", value)
    found = _PASS.fullmatch(value)
    if variables.has_variable(value) or found is None:
        section.lost(directive, "the address has variables that are known at a request only")
        return None
    scheme = found["scheme"] or ("grpc" if directive.name == "grpc_pass" else "http")
    if scheme in _SECURE:
        section.different(directive, "its certificate is always verified, with the system's authorities or upstream_ca")
        for name, key in _TLS.items():
            if setting := scope.last(directive.name.replace("pass", name)):
                section.values[key] = setting.value
    return Passed(scheme, found["where"], found["path"])


def peers(passed: Passed, scope: Scope, section: Section) -> None:
    """The peers of a target: those of the `upstream` block of its name, else itself."""
    where, scheme = passed.where, passed.scheme
    blocks = [one for block in scope.blocks for one in block if one.name == "upstream" and one.value == where]
    if not blocks:
        section.values["upstream"] = [_address(where, scheme)]
        return
    found = []
    for one in blocks[0].block or ():
        if one.name == "server":
            found += _server(one, section, scheme)
        elif one.name in _KNOWN:
            _choice(one, section)
        elif one.name in NEEDLESS:
            section.needless(one, NEEDLESS[one.name])
        else:
            section.lost(one, "no setting of the gateway does this")
    section.values["upstream"] = list(dict.fromkeys(found))


def _server(directive: Directive, section: Section, scheme: str) -> list[str]:
    options = dict(one.partition("=")[::2] for one in directive.args[1:])
    if "down" in options:
        section.needless(directive, "a peer that is down is left out")
        return []
    if "backup" in options:
        section.lost(directive, "there are no peers that are used only when all others fail")
        return []
    weight = f" weight={options['weight']}" if options.get("weight", "1") != "1" else ""
    if "max_fails" in options:
        section.values["eject_after"] = int(options["max_fails"])
    if options.get("fail_timeout") in ("0", "0s"):
        section.values["eject_after"] = 0
    elif "fail_timeout" in options:
        section.values["eject_time"] = seconds(options["fail_timeout"])
    if "max_conns" in options:
        section.values["peer_connections"] = int(options["max_conns"])
        section.different(directive, "max_conns counts the connections of one worker")
    return [_address(directive.args[0], scheme) + weight]


def _choice(directive: Directive, section: Section) -> None:
    if directive.name == "least_conn" or (directive.name == "random" and not directive.args):
        section.values["balance"] = "least-connections"
    elif directive.name == "random":
        section.values["balance"] = "random-two"
    elif directive.name == "ip_hash":
        section.values |= {"balance": "hash", "hash_by": "client"}
        section.different(directive, "the whole address counts, not the first three numbers")
    elif directive.name == "hash":
        by = _HASHED.get(directive.args[0], "")
        if found := re.fullmatch(r"\$(http|cookie)_(\w+)", directive.args[0]):
            by = f"cookie:{found[2]}" if found[1] == "cookie" else "header:" + found[2].replace("_", "-")
        if by:
            section.values |= {"balance": "hash", "hash_by": by}
        else:
            section.lost(directive, "peers are chosen by the client's address, a field or a cookie")
    elif directive.name == "sticky" and directive.args[:1] == ("cookie",):
        section.values["sticky_cookie"] = directive.args[1]
    elif directive.name == "keepalive_timeout":
        section.values["upstream_keepalive"] = seconds(directive.value)
    elif directive.name == "keepalive":
        section.needless(directive, "connections are kept; upstream_keepalive is how long the application keeps them")
    else:
        section.lost(directive, "no setting of the gateway does this")


def _address(where: str, scheme: str) -> str:
    port = 443 if scheme in _SECURE else 80
    text = where if where.startswith("unix:") or re.search(r":\d+$", where) else f"{where}:{port}"
    return str(Peer.parse(_SPOKEN[scheme] + text))
