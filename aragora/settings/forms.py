"""How a value of an environment variable is written, and one row of the table that says so."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/A-Z]+")


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written: `name` for people, `parse` raises ValueError with the fix."""

    name: str
    parse: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `production` is the default under ARAGORA_ENV=production where it differs."""

    name: str
    attribute: str
    form: Form
    default: Any
    production: Any
    unit: str
    help: str
    secret: bool
    group: str


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError("write 1 or 0")


def _listed(value: str) -> tuple[str, ...]:
    return tuple(item for item in (part.strip() for part in value.split(",")) if item)


def _origins(value: str) -> tuple[str, ...]:
    """Compared with what browsers send, letter by letter: what they never send would shut pages out unnoticed."""
    origins = _listed(value)
    if not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("write origins as browsers send them, as https://app.example: no capitals, no / at the end")
    return origins


def _networks(value: str) -> tuple[str, ...]:
    found = _listed(value)
    for item in found:
        try:
            ipaddress.ip_network(item, strict=False)
        except ValueError:
            raise ValueError("write addresses and networks, as 10.1.2.3 or 10.1.0.0/16, comma separated") from None
    return found


def _path(value: str) -> Path:
    return Path(value).expanduser().absolute()


def _address(value: str) -> str:
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("write HOST:PORT, as 127.0.0.1:8080, or unix:/path")
    return value


def url(*schemes: str) -> Form:
    def parse(value: str) -> str:
        if urlsplit(value).scheme not in schemes or "://" not in value:
            raise ValueError(f"write a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value

    return Form("URL", parse)


def choice(*values: str) -> Form:
    def parse(value: str) -> str:
        if value.lower() not in values:
            raise ValueError(f"write one of {', '.join(values)}")
        return value.lower()

    return Form(" \\| ".join(values), parse)


def number(kind: type[int] | type[float], low: float, high: float) -> Form:
    what = "a whole number" if kind is int else "a number"

    def parse(value: str) -> int | float:
        try:
            number = kind(value)
        except ValueError:
            raise ValueError(f"write {what} from {low:.10g} to {high:.10g}") from None
        if not low <= number <= high:
            raise ValueError(f"write {what} from {low:.10g} to {high:.10g}")
        return number

    return Form(f"{'integer' if kind is int else 'number'} {low:.10g} to {high:.10g}", parse)


def _workload(value: str) -> str:
    if value.lower() in ("cpu", "io", "mixed"):
        return value.lower()
    if value.isdecimal() and 1 <= int(value) <= 1024:
        return value
    raise ValueError("write cpu, io, mixed or a number of workers from 1 to 1024")


TEXT = Form("text", _text)
FLAG = Form("1 \\| 0", _flag)
LIST = Form("comma-separated list", _listed)
ORIGINS = Form("comma-separated list", _origins)
NETWORKS = Form("comma-separated list", _networks)
PATH = Form("path", _path)
ADDRESS = Form("HOST:PORT \\| unix:PATH", _address)
WORKLOAD = Form("cpu \\| io \\| mixed \\| number", _workload)
_SAME: Any = object()


def row(
    name: str,
    form: Form,
    default: Any,
    text: str,
    *,
    group: str,
    production: Any = _SAME,
    unit: str = "",
    secret: bool = False,
) -> Any:
    """A dataclass field that carries its row of the table."""
    metadata = {
        "name": name,
        "form": form,
        "production": default if production is _SAME else production,
        "unit": unit,
        "help": text,
        "secret": secret,
        "group": group,
    }
    return field(default=default, metadata=metadata, repr=not secret)
