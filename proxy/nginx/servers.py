"""Servers: listeners, certificates, and which hosts the routes of each belong to."""

import re
from dataclasses import dataclass

from proxy.nginx.blocks import Directive
from proxy.nginx.report import Section

_LISTEN = re.compile(r"(?:(?P<host>\[[^\]]+\]|[^:\[\]]*[^:\[\]\d][^:\[\]]*|\d+\.\d+\.\d+\.\d+):)?(?P<port>\d+)")
_TO_HTTPS = re.compile(
    r"https://(?:\$host|\$server_name|\$http_host|[\w.-]+)(?::443)?\$(?:request_uri|uri\$is_args\$args)"
)


@dataclass(frozen=True, slots=True)
class Listener:
    """One `listen`: the address as the gateway writes it, and its options."""

    address: str
    secure: bool
    default: bool
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Server:
    """One `server` block."""

    directive: Directive
    listeners: tuple[Listener, ...]
    names: tuple[str, ...]

    @property
    def block(self) -> tuple[Directive, ...]:
        return self.directive.block or ()

    @property
    def secure(self) -> bool:
        return any(one.secure for one in self.listeners)

    @property
    def only_redirects(self) -> bool:
        """Whether a server without TLS sends every request to the same address with TLS, as the gateway does."""
        return not self.secure and any(map(leads_to_https, self.block))

    @property
    def redirects_plain(self) -> bool:
        """Whether it does so with every request without TLS."""
        both = self.secure and any(one.name == "if" and leads_to_https(one) for one in self.block)
        return both or self.only_redirects


def leads_to_https(directive: Directive) -> bool:
    """Whether it sends requests to the same address with TLS."""
    if directive.name == "return":
        return len(directive.args) > 1 and bool(_TO_HTTPS.fullmatch(directive.args[1]))
    if directive.name == "rewrite":
        return directive.args[1].startswith("https://") and directive.args[-1] in ("permanent", "redirect")
    if directive.name == "location" and directive.value == "/":
        return any(map(leads_to_https, directive.block or ()))
    conditional = directive.name == "if" and directive.args[0].lstrip("(") in {
        "$host",
        "$scheme",
        "$server_port",
        "$https",
    }
    return conditional and any(map(leads_to_https, directive.block or ()))


def read_server(directive: Directive, section: Section) -> Server:
    """A `server` block; what cannot be listened on, or is no name, gets a remark."""
    block = directive.block or ()
    tls = any(one.name == "ssl" and one.value == "on" for one in block)
    listeners = []
    for one in block:
        if one.name == "listen":
            listener = _listener(one, secure=tls)
            if listener is None:
                section.lost(one, "expected an IP address and a port, or unix:PATH")
            else:
                listeners.append(listener)
    names: list[str] = []
    for one in block:
        if one.name == "server_name":
            for name in one.args:
                names += _names(name, one, section)
    return Server(directive, tuple(listeners or [Listener("0.0.0.0:80", False, False, ())]), tuple(names))


def _listener(directive: Directive, *, secure: bool) -> Listener | None:
    text, *options = directive.args
    secure = secure or "ssl" in options
    default = "default_server" in options or "default" in options
    if text.startswith("unix:"):
        return Listener(text, secure, default, tuple(options))
    found = _LISTEN.fullmatch(text)
    if found is None:
        if not re.fullmatch(r"\d+\.\d+\.\d+\.\d+|\[[^\]]+\]|localhost", text):
            return None
        host, port = text, "80"
    else:
        host, port = found["host"] or "0.0.0.0", found["port"]
    host = {"*": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host)
    return Listener(f"{host}:{port}", secure, default, tuple(options))


def _names(name: str, directive: Directive, section: Section) -> list[str]:
    if name in ("_", "", '""'):
        return []
    if name.startswith("."):
        return [name[1:].lower(), f"*{name}".lower()]
    if name.startswith("~") or name.endswith("*") or "*" in name[1:]:
        section.lost(directive, f"{name}: hosts are names, or *.name")
        return []
    return [name.lower()]


def listen(servers: list[Server], top: Section) -> None:
    """`bind`, `bind_plain` and the certificates."""
    listeners = [(server, one) for server in servers for one in server.listeners]
    secure = _addresses([one for _, one in listeners if one.secure])
    plain = _addresses([one for _, one in listeners if not one.secure])
    if secure:
        top.values["bind"] = secure
        if plain:
            top.values["bind_plain"] = plain
    else:
        top.values["bind"] = plain
    ports: dict[str, set[int]] = {}
    for server, _ in listeners:
        for name in server.names or ("",):
            if not server.only_redirects:
                ports.setdefault(name, set()).add(servers.index(server))
    for name, several in ports.items():
        if len(several) > 1:
            for index in sorted(several)[1:]:
                text = f"{name or 'no name'}: another server has it on another port; routes are not chosen by port"
                top.lost(servers[index].directive, text)
    if secure and plain:
        _redirects(servers, top)
    if any("proxy_protocol" in one.options for _, one in listeners):
        top.values["proxy_protocol"] = True


def _redirects(servers: list[Server], top: Section) -> None:
    open_ones = [server for server in servers if any(not one.secure for one in server.listeners)]
    redirecting = [server for server in open_ones if server.redirects_plain]
    serving = [server for server in open_ones if server not in redirecting]
    if serving:
        top.values["https_redirect"] = False
        for server in redirecting:
            top.lost(server.directive, "plain HTTP is redirected for all hosts or for none, and others are served")
    for server in redirecting if not serving else []:
        top.different(server.directive, "bind_plain redirects to https by itself, with 308 instead of 301")


def _addresses(listeners: list[Listener]) -> list[str]:
    """Each address once; one on all IPv6 addresses accepts IPv4 here."""
    found = list(dict.fromkeys(one.address for one in listeners))
    return [one for one in found if not (one.startswith("0.0.0.0:") and one.replace("0.0.0.0", "[::]") in found)]


def certificates(servers: list[Server], top: Section) -> list[Section]:
    """The first certificate as `tls_cert` and `tls_key`, the others as sections."""
    found: dict[tuple[str, str], None] = {}
    for server in servers:
        certs = [one.value for one in server.block if one.name == "ssl_certificate"]
        keys = [one.value for one in server.block if one.name == "ssl_certificate_key"]
        found |= dict.fromkeys(zip(certs, keys, strict=False))
    pairs = list(found)
    if pairs:
        top.values |= {"tls_cert": pairs[0][0], "tls_key": pairs[0][1]}
    return [Section("certificate", {"cert": cert, "key": key}) for cert, key in pairs[1:]]


def tls_options(server: Server, top: Section) -> None:
    """Versions, and certificates of clients."""
    for one in server.block:
        if one.name == "ssl_protocols" and one.args == ("TLSv1.3",):
            top.values["tls_min"] = "1.3"
        elif one.name == "ssl_protocols":
            top.needless(one, "TLS 1.2 and 1.3 are spoken")
        elif one.name == "ssl_client_certificate":
            top.values["tls_client_ca"] = one.value
        elif one.name == "ssl_verify_client" and one.value in ("optional", "on"):
            top.values["tls_client_auth"] = "required" if one.value == "on" else "optional"
        elif one.name == "ssl_verify_client" and one.value != "off":
            top.lost(one, "certificates that are not verified are not accepted")
