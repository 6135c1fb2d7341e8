"""The kinds of value a setting can have: how each is read, what a wrong one is told, how it is shown."""

import ipaddress
import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_MAX_UNIX_PATH = 107  # sun_path has 108 bytes, the last one NUL
MAX_WORKERS = 128
_SIZE_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIME_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen on or to connect to: host and port, or (when `path` is not empty) a unix socket.

    A path that begins with '@' is in Linux's abstract namespace. `host` may be a name in an upstream's address;
    then `family` is AF_UNSPEC and who connects must resolve it.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read "HOST:PORT", "[::1]:8000", ":8000" (which means loopback) or "unix:PATH". Raises ValueError."""
        if text.startswith("unix:"):
            return cls(path=_unix_path(text[5:]))
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError("expected HOST:PORT or unix:PATH, with a port from 0 to 65535")
        if host.startswith("[") and host.endswith("]"):
            try:
                return cls(str(ipaddress.IPv6Address(host[1:-1])), int(port))
            except ValueError:
                raise ValueError("what stands in brackets is not an IPv6 address") from None
        if ":" in host:
            raise ValueError("an IPv6 address stands in brackets, such as [::1]:8000")
        if host in ("", "localhost"):
            return cls("127.0.0.1", int(port))
        try:
            return cls(str(ipaddress.IPv4Address(host)), int(port))
        except ValueError:
            if not _HOST_NAME.fullmatch(host) or host.replace(".", "").isdigit():
                raise ValueError(f"'{host}' is neither an IP address nor a host name") from None
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
        """Whether only this machine can reach it."""
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
class Kind:
    """How values of one kind are read (`read` raises ValueError with the mend) and shown."""

    name: str
    read: Callable[[Any], Any]
    show: Callable[[Any], str] = str
    metavar: str = "VALUE"
    repeatable: bool = False
    choices: tuple[str, ...] = ()


def toml(value: Any) -> str:
    """A value as it stands in the file, shortened to fit in a message."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.isprintable():
        raise ValueError("expected text in quotes, without control characters")
    return raw


def _path(raw: Any) -> Path:
    text = _text(raw)
    if not text:
        raise ValueError("expected the path of a file or directory")
    return Path(text).absolute()


def _whole(raw: Any, low: int, high: int, what: str) -> int:
    if isinstance(raw, str) and raw.isascii() and raw.isdigit():
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or not low <= raw <= high:
        raise ValueError(f"expected {what} from {low} to {high}")
    return raw


def _count(raw: Any) -> int:
    return _whole(raw, 1, 1_000_000, "a whole number")


def _workers(raw: Any) -> int:
    return _whole(raw, 1, MAX_WORKERS, "a whole number")


def _size(raw: Any) -> int:
    if isinstance(raw, str):
        match = re.fullmatch(r"(\d{1,15})\s*([bkmg]?)", raw.lower(), re.ASCII)
        raw = int(match[1]) * _SIZE_UNITS[match[2]] if match else None
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw < 1 << 53:
        raise ValueError("expected a size in bytes, or with k, m or g, such as 64k or 50m")
    return raw


def _show_size(value: int) -> str:
    for unit in ("g", "m", "k"):
        if value and value % _SIZE_UNITS[unit] == 0:
            return f"{value // _SIZE_UNITS[unit]}{unit}"
    return str(value)


def _duration(raw: Any) -> float:
    if isinstance(raw, str):
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|[smhd]?)", raw, re.ASCII)
        raw = float(match[1]) * _TIME_UNITS[match[2]] if match else None
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= 30 * 86400:
        raise ValueError("expected seconds, or a duration such as 500ms, 30s, 5m or 1h (at most 30d)")
    return float(raw)


def _switch(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in ("on", "off", "true", "false", "yes", "no"):
        return raw.lower() in ("on", "true", "yes")
    raise ValueError("expected on or off (true or false in the file)")


def _mode(raw: Any) -> int:
    if isinstance(raw, str) and re.fullmatch(r"0?o?[0-7]{3}", raw):
        return int(raw.removeprefix("0o"), 8)
    raise ValueError("expected three octal digits in quotes, such as \"660\"")


def _choice(*choices: str) -> Kind:
    def read(raw: Any) -> str:
        if raw not in choices:
            raise ValueError(f"expected {' or '.join(choices)}")
        return str(raw)

    return Kind("choice", read, metavar="|".join(choices), choices=choices)


def _addresses(raw: Any) -> tuple[Address, ...]:
    texts = [raw] if isinstance(raw, str) else raw
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError('expected an address such as "127.0.0.1:8000", or a list of them')
    if len(texts) > 64:
        raise ValueError("at most 64 addresses")
    found = tuple(Address.parse(text) for text in texts)
    for address in found:
        if found.count(address) > 1 and (address.port or address.path):
            raise ValueError(f"{address} stands there twice; remove one")
    return found


def _peers(raw: Any) -> tuple[Address, ...]:
    found = _addresses(raw)
    for address in found:
        if not address.path and not address.port:
            raise ValueError("port 0 cannot be connected to; name the application's port")
    return found


def _listeners(raw: Any) -> tuple[Address, ...]:
    found = _addresses(raw)
    for address in found:
        if address.family == socket.AF_UNSPEC:
            raise ValueError(f"'{address.host}' is a name; listen on an IP address, such as 0.0.0.0 for all")
        if address.path.startswith("@"):
            raise ValueError("listen on the path of a file, which has permissions, such as unix:/run/proxy.sock")
    return found


def _admin(raw: Any) -> Address | None:
    if isinstance(raw, str) and raw.lower() != "off":
        return _listeners(raw)[0]
    if raw is False or isinstance(raw, str):
        return None
    raise ValueError('expected one address such as "127.0.0.1:9180", or "off"')


def _log(raw: Any) -> str:
    if raw is False:
        return "off"
    text = _text(raw)
    return text if text in ("-", "off") else str(_path(text))


def _error_log(raw: Any) -> str:
    return "-" if raw == "-" else str(_path(raw))


def _show_addresses(found: tuple[Address, ...]) -> str:
    return ", ".join(map(str, found)) or "none"


def _show_path(path: Path | None) -> str:
    return str(path) if path else "none"


PEERS = Kind("address", _peers, _show_addresses, "ADDRESS", repeatable=True)
LISTENERS = Kind("address", _listeners, _show_addresses, "ADDRESS", repeatable=True)
ADMIN = Kind("address or off", _admin, lambda found: str(found or "off"), "ADDRESS|off")
TEXT = Kind("text", _text, lambda text: text or "none", "TEXT")
PATH = Kind("path", _path, _show_path, "PATH")
LOG = Kind("path, - or off", _log, metavar="PATH|-|off")
ERROR_LOG = Kind("path or -", _error_log, metavar="PATH|-")
LOG_FORMAT = _choice("combined", "json")
LOG_LEVEL = _choice("debug", "info", "warning", "error", "critical")
HALF_CLOSE = _choice("abort", "allow")
COUNT = Kind("count", _count, metavar="N")
WORKERS = Kind("count", _workers, metavar="N")
SIZE = Kind("size", _size, _show_size, "SIZE")
DURATION = Kind("duration", _duration, lambda seconds: f"{seconds:g}s", "TIME")
SWITCH = Kind("switch", _switch, lambda on: "on" if on else "off", "on|off")
MODE = Kind("octal mode", _mode, lambda mode: f"{mode:o}", "MODE")
