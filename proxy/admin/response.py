"""A request to the admin address, and its response."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """A request to the admin address, apart from its transport. Names of `fields` are lower-case."""

    method: bytes
    target: bytes
    host: bytes | None = None
    fields: Mapping[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    proven: bool = False
    """Whether the connection itself authorises commands: it came over the gateway's own socket."""

    def field(self, name: bytes) -> bytes:
        return self.fields.get(name, b"")

    @classmethod
    def of_lines(
        cls, method: bytes, target: bytes, host: bytes | None, lines: list[bytes], body: bytes, *, proven: bool
    ) -> "AdminRequest":
        """From the raw field lines of a head that was checked."""
        pairs = (line.partition(b":") for line in lines)
        fields = {name.lower(): value.strip(b" \t") for name, _, value in pairs}
        return cls(method, target, host, fields, body, proven)


class AdminResponse(NamedTuple):
    """A complete response, to which length, date and Cache-Control: no-store are added."""

    status: int
    content_type: str
    body: bytes
    fields: bytes = b""
    """More field lines, each with its CRLF."""


def refusal(status: int, message: str, fields: bytes = b"") -> AdminResponse:
    """An error response, as JSON."""
    return structured({"error": message}, status, fields)


def structured(value: Mapping[str, Any], status: int = 200, fields: bytes = b"") -> AdminResponse:
    return AdminResponse(status, JSON, json.dumps(value, indent=2).encode() + b"\n", fields)
