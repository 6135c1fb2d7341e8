"""The bodies of commands: JSON objects, checked against one table of keys."""

import json
from typing import Any

_KEYS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "drain": {"peer": str, "route": str, "force": bool},
    "undrain": {"peer": str, "route": str},
    "maintenance": {"on": bool, "route": str},
    "probe": {"route": str, "peer": str, "upstream": (str, list), "path": str, "host": str, "statuses": str},
    "switch": {"route": str, "peer": str, "upstream": (str, list)},
    "deploy": {
        "name": str,
        "target": (str, list),
        "host": (str, list),
        "path": str,
        "health_path": str,
        "tls": bool,
        "labelled": bool,
        "check": bool,
    },
    "remove": {"name": str},
    "rollout": {"name": str, "target": (str, list), "percent": int, "allow": str, "end": bool, "check": bool},
    "pause": {"route": str, "wait": (int, float)},
    "resume": {"route": str},
    "containers": {
        "daemon": str,
        "connected": bool,
        "since": (int, float),
        "fault": str,
        "containers": int,
        "faults": list,
    },
    "purge": {"url": str, "prefix": str, "tag": str, "all": bool},
    "reload": {},
}
_OPTIONAL = (
    "route",
    "peer",
    "force",
    "host",
    "path",
    "health_path",
    "tls",
    "labelled",
    "check",
    "statuses",
    "wait",
    "target",
    "percent",
    "allow",
    "end",
    "url",
    "prefix",
    "tag",
    "all",
)
_NEEDED = {"drain": "peer", "undrain": "peer", "pause": "route", "resume": "route", "deploy": "target"}
_SHAPES: dict[type | tuple[type, ...], str] = {
    str: "text",
    bool: "true or false",
    (str, list): "text or a list of texts",
    (int, float): "seconds",
    int: "a whole number",
    list: "a list of texts",
}


class Refused(Exception):  # noqa: N818 - names what happened
    """A command that is not carried out: the status of the response, its message, and what else it has."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.more = more


def listed(raw: str | list[str]) -> list[str]:
    """A text or a list of texts as a list."""
    return [raw] if isinstance(raw, str) else list(map(str, raw))


def read_body(command: str, body: bytes) -> dict[str, Any]:
    """The arguments of a command. Raises Refused."""
    keys = _KEYS[command]
    try:
        given = json.loads(body or b"{}")
        # Python reads more than what it can pass on: halves of surrogate pairs, numbers that are infinite or none.
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(given, dict):
        raise Refused(400, "the body is not a JSON object")
    for name, value in given.items():
        if name not in keys:
            raise Refused(400, f"{name[:80]!r} is unknown; {command} takes {', '.join(keys) or 'nothing'}")
        if not isinstance(value, keys[name]) or (isinstance(value, bool) and keys[name] is not bool):
            raise Refused(400, f"{name}: expected {_SHAPES[keys[name]]}")
    for name in keys:
        if name not in given and (name not in _OPTIONAL or _NEEDED.get(command) == name):
            raise Refused(400, f"{name}: missing")
    return given
