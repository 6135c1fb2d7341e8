"""Where to listen and where to connect."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_PEER = re.compile(r"(\S+)(?:\s+weight=(\d{1,4}))?")
_MAX_UNIX_PATH = 107  # sun_path has 108 bytes, the last one NUL


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen on or to connect to: host and port, or (when `path` is not empty) a unix socket.

    A path that begins with '@' is in Linux's abstract namespace. `host` may be a name in an upstream's address;
    then `family` is AF_UNSPEC and connecting requires resolution.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read "HOST:PORT", "[::1]:8000", ":8000" (which means loopback) or "unix:PATH". Raises ValueError."""
        if text.startswith("unix:"):
            return cls(path=_unix_path(text[5:]))
        if text.startswith("https://"):
            raise ValueError("expected HOST:PORT or unix:PATH; the gateway speaks no TLS to applications")
        if "://" in text:
            raise ValueError("expected HOST:PORT or unix:PATH, without a scheme such as http://")
        if "$" in text:
            raise ValueError("variables of the environment are replaced in a file, and written ${NAME}")
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            example = f"127.0.0.1:{text}" if text.isdecimal() and int(text) < 65536 else "127.0.0.1:8000"
            raise ValueError(f"expected HOST:PORT or unix:PATH, with a port from 1 to 65535, such as {example}")
        if host.startswith("[") and host.endswith("]"):
            try:
                return cls(str(ipaddress.IPv6Address(host[1:-1])), int(port))
            except ValueError:
                raise ValueError("no IPv6 address in the brackets; write one, such as [::1]:8000") from None
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
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

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
        found = _PEER.fullmatch(text.strip())
        if found is None or found[2] == "0":
            raise ValueError('expected ADDRESS or "ADDRESS weight=N", with a weight from 1')
        address = Address.parse(found[1])
        if not address.path and not address.port:
            raise ValueError("port 0 is not allowed here; use the application's port")
        return cls(address, int(found[2] or 1))

    def __str__(self) -> str:
        return f"{self.address} weight={self.weight}" if self.weight != 1 else str(self.address)
