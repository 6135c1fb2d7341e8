"""What the access log says of a request, and of which requests."""

import re
from pathlib import Path
from typing import Any, Final

from proxy.settings.values.address import Address
from proxy.settings.values.kinds import Kind

USUAL: Final = (
    "time",
    "client",
    "method",
    "target",
    "protocol",
    "status",
    "sent",
    "received",
    "referer",
    "user_agent",
    "request_id",
    "upstream",
    "queue",
    "connect",
    "first_byte",
    "total",
    "termination",
    "reason",
    "trace_id",
    "host",
    "user",
    "route",
)
"""The keys of a JSON line, in their order."""
NAMES: Final = (*USUAL, "tls_client_subject", "path")


_SYSLOG: Final = "/dev/log"


def datagrams_to(place: str) -> Address | None:
    """The socket of a syslog server or a journal; None for any other place of a log. Raises ValueError with the fix."""
    kind, _, rest = place.partition(":")
    if kind == "syslog":
        address = Address.parse(rest) if rest else Address(path=_SYSLOG)
        if not address.path and not re.fullmatch(r"[0-9a-fA-F.:]+", address.host):
            raise ValueError(f"'{address.host}' is a host name; write the IP address of the syslog server")
        return address
    if kind == "journald":
        if not re.fullmatch(r"[A-Za-z0-9_-]*", rest):
            raise ValueError("expected journald, or journald:NAMESPACE of letters, digits, - and _")
        return Address(path=f"/run/systemd/journal{'.' if rest else ''}{rest}/socket")
    return None


def _place(raw: Any) -> str:
    if raw is False:
        return "off"
    if not isinstance(raw, str) or not raw.isprintable() or not raw:
        raise ValueError("expected the path of a file, '-', syslog, journald or off")
    if raw in ("-", "off") or datagrams_to(raw) is not None:
        return raw
    return str(Path(raw).absolute())


def _fields(raw: Any) -> tuple[str, ...]:
    if raw in ("all", ["all"]):
        return ()
    names = [raw] if isinstance(raw, str) else raw
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError('expected names of fields, such as ["time", "status", "path"]')
    for name in names:
        if name not in NAMES:
            raise ValueError(f"no field is called {name!r}; there are {', '.join(NAMES)}")
        if names.count(name) > 1:
            raise ValueError(f"{name} is there twice; remove one")
    return tuple(names)


def _share(raw: Any) -> float:
    if isinstance(raw, bool) or raw in ("on", "off"):
        return float(raw in (True, "on"))
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?)%", raw) if isinstance(raw, str) else None
    if found is None or not 0 < float(found[1]) <= 100:
        raise ValueError('expected on, off or a share such as "1%"')
    return float(found[1]) / 100


def _show_share(share: float) -> str:
    if share in (0.0, 1.0):
        return "on" if share else "off"
    return f"{share * 100:.5g}%"


PLACE: Final = Kind("path, -, syslog, journald or off", _place, metavar="PATH|-|syslog|journald|off")
FIELDS: Final = Kind("field names", _fields, lambda names: ", ".join(names) or "all", "FIELD", repeatable=True)
SHARE: Final = Kind("on, off or share", _share, _show_share, "on|off|N%")
