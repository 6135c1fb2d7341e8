"""The kinds of values a setting can have: how they are read, the error for an invalid one, how they are shown."""

import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.settings.values.address import Address, Peer

MAX_WORKERS = 128
_MOST_BYTES = 1 << 53
_SIZE_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIME_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_FIX = "expected a size in bytes, or with k, m or g, such as 64k or 50m"
OFF = ("off", False)
"""Values that switch something off."""

NO_LIMIT = 10**19
"""Stands for no limit: larger than any length that a message can announce."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one kind are read (`read` raises ValueError with the fix) and shown."""

    name: str
    read: Callable[[Any], Any]
    show: Callable[[Any], str] = str
    metavar: str = "VALUE"
    repeatable: bool = False
    choices: tuple[str, ...] = ()


def toml(value: Any) -> str:
    """A value in TOML, shortened for a message."""
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


def _optional_path(raw: Any) -> Path | None:
    return None if raw in OFF else _path(raw)


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


def _size(raw: Any, fix: str = f"{_SIZE_FIX}, or off") -> int:
    if raw in OFF:
        return 0
    size = None if isinstance(raw, bool) else raw
    if isinstance(raw, str):
        match = re.fullmatch(r"(-?\d{1,99})\s*([bkmg]?)", raw.lower(), re.ASCII)
        size = int(match[1]) * _SIZE_UNITS[match[2]] if match else None
    if isinstance(size, int) and 0 <= size < _MOST_BYTES:
        return size
    raise ValueError(f"{fix}; from 0 to {_MOST_BYTES >> 30}g" if isinstance(size, int) else fix)


def _limit(raw: Any) -> int:
    return _size(raw, f"{_SIZE_FIX}, or off for no limit") or NO_LIMIT


def _bound(raw: Any) -> int:
    size = _size(raw, _SIZE_FIX)
    if not size:
        raise ValueError("0 does not mean 'no limit' here, and this limit cannot be off; " + _SIZE_FIX)
    return size


def _show_size(value: int) -> str:
    if value >= NO_LIMIT:
        return "off"
    for unit in ("g", "m", "k"):
        if value and value % _SIZE_UNITS[unit] == 0:
            return f"{value // _SIZE_UNITS[unit]}{unit}"
    return str(value)


def _duration(raw: Any, most: int = 30 * 86400) -> float:
    if raw in OFF:
        return 0.0
    if isinstance(raw, str):
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|[smhd]?)", raw, re.ASCII)
        raw = float(match[1]) * _TIME_UNITS[match[2]] if match else None
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= most:
        raise ValueError(f"expected seconds, or a duration such as 500ms, 30s, 5m or 1h (at most {most // 86400}d)")
    return float(raw)


def _age(raw: Any) -> float:
    return _duration(raw, 2 * 365 * 86400)


def _wait(raw: Any) -> float:
    seconds = _duration(raw)
    if not seconds:
        raise ValueError("0 does not mean 'never' here; expected a longer duration, such as 30s (at most 30d)")
    return seconds


def _show_duration(seconds: float) -> str:
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _switch(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in ("on", "off", "true", "false", "yes", "no"):
        return raw.lower() in ("on", "true", "yes")
    raise ValueError("expected on or off (true or false in the file)")


def _mode(raw: Any) -> int:
    if isinstance(raw, str) and re.fullmatch(r"0?o?[0-7]{3}", raw):
        return int(raw.removeprefix("0o"), 8)
    raise ValueError('expected three octal digits in quotes, such as "660"')


def _choice(*choices: str) -> Kind:
    def read(raw: Any) -> str:
        if raw not in choices:
            raise ValueError(f"expected {' or '.join(choices)}")
        return str(raw)

    return Kind("choice", read, metavar="|".join(choices), choices=choices)


def _texts(raw: Any) -> list[str]:
    texts = [raw] if isinstance(raw, str) else raw
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError('expected an address such as "127.0.0.1:8000", or a list of them')
    if len(texts) > 64:
        raise ValueError("at most 64 addresses")
    return texts


def _check_unique(found: tuple[Address, ...]) -> None:
    for address in found:
        if found.count(address) > 1 and (address.port or address.path):
            raise ValueError(f"duplicate address {address}; remove one")


def _peers(raw: Any) -> tuple[Peer, ...]:
    found = tuple(Peer.parse(text) for text in _texts(raw))
    _check_unique(tuple(peer.address for peer in found))
    return found


def _listeners(raw: Any) -> tuple[Address, ...]:
    found = tuple(Address.parse(text) for text in _texts(raw))
    _check_unique(found)
    for address in found:
        if address.family == socket.AF_UNSPEC:
            raise ValueError(f"'{address.host}' is a host name; listen on an IP address, or on 0.0.0.0 for all")
        if address.path.startswith("@"):
            raise ValueError("abstract sockets have no permissions; use a path such as unix:/run/proxy.sock")
    return found


def _admin(raw: Any) -> Address | None:
    if isinstance(raw, str) and raw.lower() != "off":
        return _listeners(raw)[0]
    if raw is False or isinstance(raw, str):
        return None
    raise ValueError('expected one address such as "127.0.0.1:9180", or "off"')


def _admin_socket(raw: Any) -> str:
    if raw in ("auto", "off"):
        return str(raw)
    if raw is False:
        return "off"
    text = _text(raw)
    address = Address.parse(text if text.startswith("unix:") else f"unix:{text}")
    if address.path.startswith("@"):
        raise ValueError("abstract sockets have no permissions; use a path such as /run/proxy/admin.sock")
    return address.path


def _error_log(raw: Any) -> str:
    if raw in OFF:
        raise ValueError("expected the path of a file, or '-'; to log less, set log_level")
    return "-" if raw == "-" else str(_path(raw))


def _show_all(found: tuple[Any, ...]) -> str:
    return ", ".join(map(str, found)) or "none"


def _show_path(path: Path | None) -> str:
    return str(path) if path else "none"


PEERS = Kind("address", _peers, _show_all, "ADDRESS", repeatable=True)
LISTENERS = Kind("address", _listeners, _show_all, "ADDRESS", repeatable=True)
ADMIN = Kind("address or off", _admin, lambda found: str(found or "off"), "ADDRESS|off")
ADMIN_SOCKET = Kind("path, auto or off", _admin_socket, metavar="PATH|auto|off")
TEXT = Kind("text", _text, lambda text: text or "none", "TEXT")
PATH = Kind("path", _path, _show_path, "PATH")
OPTIONAL_PATH = Kind("path or off", _optional_path, _show_path, "PATH|off")
ERROR_LOG = Kind("path or -", _error_log, metavar="PATH|-")
LOG_FORMAT = _choice("combined", "json")
LOG_CLIENTS = _choice("full", "masked")
TRACE_CLIENTS = _choice("trusted", "all")
LOG_LEVEL = _choice("debug", "info", "warning", "error", "critical")
HALF_CLOSE = _choice("abort", "allow")
DOT_SEGMENTS = _choice("refuse", "pass")
PING_TO = _choice("both", "client", "upstream")
TLS = _choice("off", "self-signed")
TLS_VERSION = _choice("1.2", "1.3")
CLIENT_AUTH = _choice("required", "optional")
BALANCE = _choice("round-robin", "least-connections", "random-two", "hash")
PROBE_SCHEME = _choice("auto", "http", "https")
PROXY_PROTOCOL = _choice("off", "v1", "v2")
COUNT = Kind("count", _count, metavar="N")
WORKERS = Kind("count", _workers, metavar="N")
SIZE = Kind("size", _size, _show_size, "SIZE")
LIMIT = Kind("size or off", _limit, _show_size, "SIZE|off")
BOUND = Kind("size", _bound, _show_size, "SIZE")
DURATION = Kind("duration", _duration, _show_duration, "TIME")
WAIT = Kind("duration", _wait, _show_duration, "TIME")
AGE = Kind("duration", _age, _show_duration, "TIME")
SWITCH = Kind("switch", _switch, lambda on: "on" if on else "off", "on|off")
MODE = Kind("octal mode", _mode, lambda mode: f"{mode:o}", "MODE")
