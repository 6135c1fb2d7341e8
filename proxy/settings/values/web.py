"""The kinds of values of routes, limits and certificates, in addition to the basic ones."""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from proxy.settings.values.address import Address
from proxy.settings.values.kinds import OFF, Kind
from proxy.wire.grammar import is_token
from proxy.wire.upgrade import WITH_REQUESTS

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LONGEST_NAME = 128
_PATH = re.compile(r"/[!-\"$-~]*")
_RATE = re.compile(r"(\d{1,7})\s*/\s*([smh])")
_RATE_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DOMAIN = re.compile(r"(?:\*\.)?(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[^\[\]]*\]|[^\s/?#@:\[\]\\]+)(?::(\d*))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
MOST = 256
"""Entries of a list or a table."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of requests in a number of seconds."""

    count: int
    seconds: int

    def __str__(self) -> str:
        unit = {value: key for key, value in _RATE_SECONDS.items()}[self.seconds]
        return f"{self.count}/{unit}"


@dataclass(frozen=True, slots=True)
class Key:
    """What distinguishes requests: `kind` is client, route, header or cookie; `name` that of the header or cookie."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class Trusted:
    """Trusted proxies: networks, and whether peers on unix sockets are."""

    networks: tuple[Network, ...] = ()
    unix: bool = False

    def __str__(self) -> str:
        return ", ".join([*map(str, self.networks), *(["unix"] if self.unix else [])]) or "none"


def is_name(text: str) -> bool:
    """Whether a text can be the name of a field, a cookie or a method: a token of bounded length."""
    return text.isascii() and len(text) <= _LONGEST_NAME and is_token(text.encode()) is not None


def _list(raw: Any, what: str) -> list[str]:
    if isinstance(raw, str):
        raw = [part for part in re.split(r"[,\s]+", raw) if part]
    elif isinstance(raw, list) and all(isinstance(one, str) for one in raw):
        raw = [part for one in raw for part in re.split(r"[,\s]+", one) if part]
    if not isinstance(raw, list) or not all(isinstance(one, str) for one in raw):
        raise ValueError(f"expected {what}, or a list of them")
    if len(raw) > MOST:
        raise ValueError(f"at most {MOST} entries")
    return raw


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        fix = f"; did you mean {ipaddress.ip_network(text, strict=False)}?"
    except ValueError:
        fix = ""
    raise ValueError(f"'{text}' is not an address or network such as 10.0.0.0/8{fix}")


def _networks(raw: Any) -> tuple[Network, ...]:
    return tuple(_network(text) for text in _list(raw, 'a network such as "10.0.0.0/8"'))


def _trusted(raw: Any) -> Trusted:
    texts = _list(raw, 'a network such as "10.0.0.0/8", or "unix"')
    return Trusted(tuple(_network(text) for text in texts if text != "unix"), "unix" in texts)


def _rate(raw: Any) -> Rate | None:
    if raw in OFF:
        return None
    found = _RATE.fullmatch(raw) if isinstance(raw, str) else None
    if found is None or not int(found[1]):
        raise ValueError('expected a rate such as "20/s", "600/m" or "1000/h", or off')
    return Rate(int(found[1]), _RATE_SECONDS[found[2]])


def _key(*kinds: str) -> Any:
    named = [kind for kind in kinds if kind in ("header", "cookie")]
    fix = "expected " + " or ".join(f"{kind}:NAME" if kind in named else kind for kind in kinds)

    def read(raw: Any) -> Key:
        kind, _, name = raw.partition(":") if isinstance(raw, str) else ("", "", "")
        if kind not in kinds or (kind in named) != bool(name) or (name and not is_name(name)):
            raise ValueError(fix)
        return Key(kind, name.lower() if kind == "header" else name)

    return read


def read_tokens(raw: Any) -> tuple[str, ...]:
    found = _list(raw, "a field name")
    for name in found:
        if not is_name(name):
            raise ValueError(f"'{name}' is not a valid name (RFC 9110 section 5.6.2)")
    return tuple(found)


def _protocols(raw: Any) -> tuple[str, ...]:
    found = [] if raw in OFF else _list(raw, "a protocol such as websocket or tcp, or *")
    for protocol in found:
        parts = protocol.split("/")
        if len(parts) > 2 or not all(map(is_name, parts)):
            raise ValueError(f"'{protocol}' is not the name of a protocol, such as websocket, tcp or SPDY/3.1")
        if parts[0].lower().encode() in WITH_REQUESTS:
            raise ValueError(
                f"'{protocol}' would carry requests past the rules of the gateway; remove it: an application that "
                "speaks HTTP/2 or TLS has an upstream address with h2c://, h2:// or https://"
            )
    return tuple(dict.fromkeys(protocol.lower() for protocol in found))


def _cookie(raw: Any) -> str:
    if raw == "" or (isinstance(raw, str) and is_name(raw)):
        return str(raw)
    raise ValueError("expected a cookie's name: letters, digits, - and _")


def _path(raw: Any) -> str:
    if raw == "" or (isinstance(raw, str) and _PATH.fullmatch(raw)):
        return str(raw)
    raise ValueError("expected a path that begins with /, such as /ready")


def _media_types(raw: Any) -> tuple[str, ...]:
    found = _list(raw, "a content type such as text/html")
    for name in found:
        if not re.fullmatch(r"[\w.+-]+/(?:\*|[\w.+-]+)", name, re.ASCII):
            raise ValueError(f"'{name}' is not a content type such as text/html or text/*")
    return tuple(name.lower() for name in found)


def _url(raw: Any) -> str:
    found = urlsplit(raw) if isinstance(raw, str) and raw.isprintable() and " " not in raw else None
    if found is None or found.scheme not in ("http", "https") or not found.hostname:
        raise ValueError("expected an http or https URL")
    return str(raw)


def _collector(raw: Any) -> str:
    url = _optional_url(raw)
    found = urlsplit(url)
    if found.username is not None or found.query or found.fragment:
        raise ValueError(
            "expected a URL without account and query, such as http://127.0.0.1:4318; credentials belong in the "
            "variable OTEL_EXPORTER_OTLP_HEADERS of the environment"
        )
    return f"{url.rstrip('/')}/v1/traces" if url and found.path in ("", "/") else url


def _asked(raw: Any) -> str:
    url = _optional_url(raw)
    found = urlsplit(url)
    if found.username is not None or found.fragment:
        raise ValueError("expected a URL without account and fragment, such as http://127.0.0.1:5000/allowed")
    return url


def _optional_url(raw: Any) -> str:
    return "" if raw in ("", *OFF) else _url(raw)


def _domains(raw: Any) -> tuple[str, ...]:
    found = _list(raw, "a host name")
    for name in found:
        if not _DOMAIN.fullmatch(name) or len(name) > 253:
            if written := _ascii_name(name):
                raise ValueError(f"'{name}' is spelt '{written}' in requests and certificates; write that")
            raise ValueError(f"'{name}' is not a host name such as api.example.com or *.example.com")
    return tuple(dict.fromkeys(name.lower() for name in found))


def _certificate_names(raw: Any) -> tuple[str, ...]:
    """Host names, and addresses in their canonical spelling."""
    found = []
    for name in _list(raw, "a host name"):
        try:
            found.append(str(ipaddress.ip_address(name)))
        except ValueError:
            found += _domains(name)
    return tuple(dict.fromkeys(found))


def _name_server(raw: Any) -> Address | None:
    if raw == "":
        return None
    text = raw if isinstance(raw, str) else ""
    address = Address.parse(text if re.search(r":\d+$", text) else f"{text}:53")
    if address.path or not text:
        raise ValueError("expected a name server's address, such as 192.0.2.1 or ns.example.com:53")
    return address


def _ascii_name(name: str) -> str:
    """The ASCII form of an internationalized host name (RFC 5890 section 2.3.2.1), "" if it is none."""
    if name.isascii():
        return ""
    labels = unicodedata.normalize("NFKC", name.lower()).split(".")
    written = ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)
    return written if _DOMAIN.fullmatch(written) else ""


def _origins(raw: Any) -> tuple[str, ...]:
    return tuple(
        origin if origin == "*" else _origin(origin)
        for origin in _list(raw, "an origin such as https://app.example.com")
    )


def _origin(text: str) -> str:
    """An origin as browsers serialise it (HTML standard, section 7.1.1): nothing else equals theirs."""
    found = _ORIGIN.fullmatch(text.lower())
    if found is None:
        raise ValueError(f"'{text}' is not an origin: scheme://host or scheme://host:port, without a path, or *")
    scheme, host, port = found.groups()
    if "*" in host:
        raise ValueError(f"'{text}': * stands for all origins, not for part of one; list each origin")
    if scheme in _DEFAULT_PORTS:
        host = _web_host(text, host)
        port = "" if port is None or port.lstrip("0") in ("", _DEFAULT_PORTS[scheme]) else f":{int(port)}"
        written = f"{scheme}://{host}{port}"
        if written != text.lower():
            raise ValueError(f"'{text}' is not the form browsers use; write {written}")
    return text.lower()


def _web_host(text: str, host: str) -> str:
    """The host of an http or https origin in its canonical spelling. Raises ValueError if it is invalid."""
    try:
        if host.startswith("["):
            return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        host = _ascii_name(host) or host
        if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return str(ipaddress.IPv4Address(host))
    except ValueError:
        host = ""
    if not _HOST.fullmatch(host):
        raise ValueError(f"'{text}' has no valid host")
    return host


def _email(raw: Any) -> str:
    if raw == "" or (isinstance(raw, str) and _EMAIL.fullmatch(raw)):
        return str(raw)
    raise ValueError("expected an e-mail address; the CA sends expiry warnings to it")


def _status(raw: Any) -> int:
    if isinstance(raw, str) and raw.isdigit():
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or not 200 <= raw <= 599:
        raise ValueError("expected a status from 200 to 599")
    return raw


def _statuses(raw: Any) -> tuple[range, ...]:
    if raw == "auto":
        return ()
    found = []
    for text in _list([str(raw)] if isinstance(raw, int) else raw, 'statuses such as "200-399"'):
        match = re.fullmatch(r"([2-5]\d\d)(?:-([2-5]\d\d))?", text)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"'{text}' is not a status from 200 to 599, such as 204, nor a span such as 200-399")
        found.append(range(int(match[1]), int(match[2] or match[1]) + 1))
    if not found:
        raise ValueError('no status given; expected statuses such as "200-399", or auto')
    return tuple(found)


def _show_statuses(found: tuple[range, ...]) -> str:
    spans = (f"{span.start}-{span.stop - 1}" if len(span) > 1 else f"{span.start}" for span in found)
    return ", ".join(spans) or "auto"


def _authority(raw: Any) -> str:
    if raw == "" or (
        isinstance(raw, str) and re.fullmatch(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", raw)
    ):
        return str(raw)
    raise ValueError("expected a host as in a Host field, such as app.example.com or app.example.com:8443")


def _upstream_host(raw: Any) -> str:
    try:
        return _authority(raw) or "client"
    except ValueError as problem:
        raise ValueError(f"expected client, upstream, or {str(problem).removeprefix('expected ')}") from None


def _host_name(raw: Any) -> str:
    if raw == "":
        return ""
    found = _domains(raw) if isinstance(raw, str) else ()
    if len(found) != 1 or found[0].startswith("*"):
        raise ValueError("expected one host name as in the certificate, such as app.internal")
    return found[0]


def _redirect_status(raw: Any) -> int:
    status = _status(raw)
    if status not in (301, 302, 303, 307, 308):
        raise ValueError("expected 301, 302, 303, 307 or 308")
    return status


def _file_name(raw: Any) -> str:
    if raw == "off":
        return ""
    if not isinstance(raw, str) or not raw.isprintable() or "/" in raw or raw.startswith(".") or not raw:
        raise ValueError("expected the name of a file in its directory, such as index.html")
    return raw


def _content_type(raw: Any) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w.\"-]+)*", raw, re.ASCII):
        raise ValueError("expected a content type such as text/html; charset=utf-8")
    return raw


def _number(raw: Any) -> int:
    if raw in OFF:
        return 0
    if isinstance(raw, str) and raw.isascii() and raw.isdigit():
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw <= 10_000_000:
        raise ValueError("expected a whole number, or off")
    return raw


def show_list(found: tuple[Any, ...]) -> str:
    return ", ".join(map(str, found)) or "none"


NETWORKS = Kind("network", _networks, show_list, "NETWORK", repeatable=True)
TRUSTED = Kind("network or unix", _trusted, str, "NETWORK|unix", repeatable=True)
RATE = Kind("rate or off", _rate, lambda rate: str(rate or "off"), "RATE|off")
RATE_BY = Kind("key", _key("client", "route", "header"), str, "client|route|header:NAME")
HASH_BY = Kind("key", _key("client", "header", "cookie"), str, "client|header:NAME|cookie:NAME")
TOKENS = Kind("names", read_tokens, show_list, "NAME", repeatable=True)
PROTOCOLS = Kind(
    "protocols or off", _protocols, lambda found: show_list(found) if found else "off", "PROTOCOL|off", repeatable=True
)
COOKIE = Kind("cookie name", _cookie, lambda name: name or "none", "NAME")
PATH = Kind("path of a URL", _path, lambda path: path or "none", "PATH")
MEDIA_TYPES = Kind("content types", _media_types, show_list, "TYPE", repeatable=True)
URL = Kind("URL", _optional_url, lambda url: url or "off", "URL|off")
REQUIRED_URL = Kind("URL", _url, str, "URL")
COLLECTOR = Kind("URL", _collector, lambda url: url or "off", "URL|off")
ASKED = Kind("URL", _asked, lambda url: url or "off", "URL|off")
DOMAINS = Kind("host names", _domains, show_list, "NAME", repeatable=True)
CERTIFICATE_NAMES = Kind("host names or addresses", _certificate_names, show_list, "NAME", repeatable=True)
NAME_SERVER = Kind("address", _name_server, lambda address: str(address or "none"), "ADDRESS")
ORIGINS = Kind("origins", _origins, show_list, "ORIGIN", repeatable=True)
EMAIL = Kind("e-mail address", _email, lambda email: email or "none", "EMAIL")
STATUS = Kind("status", _status, str, "STATUS")
STATUSES = Kind("statuses or auto", _statuses, _show_statuses, "STATUS|auto")
AUTHORITY = Kind("host", _authority, lambda host: host or "none", "HOST")
UPSTREAM_HOST = Kind("client, upstream or host", _upstream_host, str, "client|upstream|HOST")
HOST_NAME = Kind("host name", _host_name, lambda name: name or "none", "NAME")
REDIRECT_STATUS = Kind("status", _redirect_status, str, "STATUS")
FILE_NAME = Kind("file name", _file_name, lambda name: name or "off", "NAME|off")
CONTENT_TYPE = Kind("content type", _content_type, str, "TYPE")
NUMBER = Kind("number", _number, str, "N")
