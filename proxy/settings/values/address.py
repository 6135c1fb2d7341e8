"""Where to listen and where to connect."""

import ipaddress
import re
import socket
from dataclasses import dataclass, replace
from pathlib import Path

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_PEER = re.compile(r"(\S+)(?:\s+weight=(\d{1,4}))?")
_SEVERAL = re.compile(r"[^\s,;]:\d+\s*[\s,;]\s*\S*:\d|[\s,;]unix:")
_ONE = "expected one address; several are a list in a file, and a flag each in a command"
_SCHEME = re.compile(r"([a-z0-9+.-]*)://(.*)", re.IGNORECASE)
_PORTS = {"": 80, "https": 443, "h2": 443, "h2c": 80}
"""The schemes of peers with their default ports; the empty one is http, and not written."""
_MAX_UNIX_PATH = 107  # sun_path has 108 bytes, the last one NUL


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen on or to connect to: host and port, or (when `path` is not empty) a unix socket.

    A path that begins with '@' is in Linux's abstract namespace. `host` may be a name in an upstream's address;
    then `family` is AF_UNSPEC and connecting requires resolution. `scheme` is what a peer speaks: "https" is HTTP over
    TLS, "h2" HTTP/2 over TLS, "h2c" HTTP/2 without it, nothing is HTTP.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    scheme: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read "HOST:PORT", "[::1]:8000", ":8000" (which means loopback) or "unix:PATH". Raises ValueError."""
        if text.startswith("unix:"):
            return cls(path=_unix_path(text[5:]))
        if "://" in text:
            raise ValueError("expected HOST:PORT or unix:PATH, without a scheme such as http://")
        if "$" in text:
            raise ValueError("variables of the environment are replaced in a file, and written ${NAME}")
        if _SEVERAL.search(text):
            raise ValueError(_ONE)
        host, colon, port = text.rpartition(":")
        if colon and "/" in port:
            raise ValueError("expected HOST:PORT without a path; path, strip_prefix and rewrite of a route have paths")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            example = f"127.0.0.1:{text}" if text.isdecimal() and int(text) < 65536 else "127.0.0.1:8000"
            raise ValueError(f"expected HOST:PORT or unix:PATH, with a port from 1 to 65535, such as {example}")
        if host.startswith("[") and host.endswith("]"):
            try:
                return cls(str(ipaddress.IPv6Address(host[1:-1])), int(port))
            except ValueError:
                raise ValueError("no IPv6 address in the brackets; write one, such as [::1]:8000") from None
        if ":" in host and host.strip("0123456789abcdefABCDEF:."):
            raise ValueError("expected HOST:PORT, with one colon, such as 127.0.0.1:8000")
        if ":" in host:
            raise ValueError("IPv6 addresses need brackets, such as [::1]:8000")
        if host in ("", "localhost"):
            return cls("127.0.0.1", int(port))
        try:
            return cls(str(ipaddress.IPv4Address(host)), int(port))
        except ValueError:
            if not _HOST_NAME.fullmatch(host) or host.replace(".", "").isdigit():
                raise ValueError(f"'{host}' is neither an IP address nor a host name; write one") from None
            return cls(host.lower(), int(port))

    def __str__(self) -> str:
        place = f"unix:{self.path}" if self.path else f"{self._bracketed}:{self.port}"
        return f"{self.scheme}://{place}" if self.scheme else place

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def authority(self) -> str:
        """What the Host field of a request to it says (RFC 9110 section 7.2)."""
        if self.path:
            return "localhost"
        return self._bracketed if self.port == _PORTS[self.scheme] else f"{self._bracketed}:{self.port}"

    @property
    def multiplexed(self) -> bool:
        """Whether requests share its connections, as streams of HTTP/2."""
        return self.scheme in ("h2", "h2c")

    @property
    def place(self) -> "Address":
        """The same address whatever is spoken there."""
        return replace(self, host="127.0.0.1" if self.host == "localhost" else self.host, scheme="")

    @property
    def family(self) -> socket.AddressFamily:
        if self.path:
            return socket.AF_UNIX
        if ":" in self.host:
            return socket.AF_INET6
        return socket.AF_INET if self.host.replace(".", "").isdigit() else socket.AF_UNSPEC

    @property
    def sockaddr(self) -> str | tuple[str, int]:
        """What `socket.bind` and `socket.connect` take."""
        if self.path:
            return "\0" + self.path[1:] if self.path.startswith("@") else self.path
        return (self.host, self.port)

    @property
    def loopback(self) -> bool:
        """Whether it can be reached only from this machine."""
        return bool(self.path) or (self.family != socket.AF_UNSPEC and ipaddress.ip_address(self.host).is_loopback)


def _unix_path(path: str) -> str:
    if path.startswith("//"):
        path = path[2:]
    if not path.strip("@"):
        raise ValueError("expected a path after unix:, such as unix:/run/app.sock")
    if "\0" in path:
        raise ValueError("a path cannot contain NUL")
    if not path.startswith("@"):
        path = str(Path(path).absolute())
    if len(path.encode()) > _MAX_UNIX_PATH:
        raise ValueError(f"the path of a unix socket is at most {_MAX_UNIX_PATH} bytes; use a shorter directory")
    return path


@dataclass(frozen=True, slots=True)
class Peer:
    """One upstream address, and how many requests it gets while a peer of weight 1 gets one."""

    address: Address
    weight: int = 1

    @classmethod
    def parse(cls, text: str) -> "Peer":
        """Read an address, or "ADDRESS weight=N". Raises ValueError."""
        if _SEVERAL.search(text):
            raise ValueError(_ONE)
        found = _PEER.fullmatch(text.strip())
        if found is None or found[2] == "0":
            raise ValueError('expected ADDRESS or "ADDRESS weight=N", with a weight from 1')
        address = _peer_address(found[1])
        if not address.path and not address.port:
            raise ValueError("port 0 is not allowed here; use the application's port")
        return cls(address, int(found[2] or 1))

    def __str__(self) -> str:
        return f"{self.address} weight={self.weight}" if self.weight != 1 else str(self.address)


def _peer_address(text: str) -> Address:
    """Read an address that may have a scheme. Raises ValueError."""
    found = _SCHEME.fullmatch(text)
    if found is None:
        return Address.parse(text)
    scheme = found[1].lower()
    scheme = "" if scheme == "http" else scheme
    place = found[2].removesuffix("/")
    if scheme not in _PORTS:
        raise ValueError("expected HOST:PORT, https://HOST:PORT, h2://HOST:PORT, h2c://HOST:PORT or unix:PATH")
    if place.startswith("unix:"):
        if scheme != "h2c":
            raise ValueError("no TLS over a unix socket; write unix:PATH, or h2c://unix:PATH for HTTP/2 and gRPC")
        return replace(Address.parse(place), scheme=scheme)
    if re.search(r"[/?#@]", place):
        written = found[1].lower()
        raise ValueError(f"an address has neither path nor user; write {written}://HOST:PORT, and path = on the route")
    if not re.search(r":\d+$", place):
        place = f"{place}:{_PORTS[scheme]}"
    address = replace(Address.parse(place), scheme=scheme)
    # The certificate is for that name.
    return replace(address, host="localhost") if scheme and place.lower().startswith("localhost:") else address
