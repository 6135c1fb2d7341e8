"""The case table in tests/cases: bytes in, verdict and bytes out."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "cases"
REQUEST_FILES = ("framing", "chunks", "fields", "forwarding", "request_line", "limits")
RESPONSE_FILES = ("responses", "upgrades")


def expand(text: str, row: dict[str, Any]) -> bytes:
    """The bytes a case stands for: one character per byte, `<fill>` and `<lines>` written out."""
    if "fill" in row:
        text = text.replace("<fill>", "a" * row["fill"])
    if "lines" in row:
        text = text.replace("<lines>", "".join(f"X-{number}: x\r\n" for number in range(row["lines"])))
    return text.encode("latin-1")


@dataclass(frozen=True)
class RequestCase:
    """What a client sends, and what becomes of it: refused with `status`, or passed on as `upstream`."""

    name: str
    send: bytes
    status: int
    upstream: bytes | None
    closes: bool
    lighttpd: int | str | None


@dataclass(frozen=True)
class ResponseCase:
    """What an upstream answers to `send`, and what the client gets of it."""

    name: str
    send: bytes
    reply: bytes
    then: str
    client: bytes
    complete: bool
    client_open: bool
    reused: bool
    rests: bool


def rows(name: str) -> list[dict[str, Any]]:
    """One file's cases."""
    found: list[dict[str, Any]] = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))["case"]
    return found


def requests() -> list[RequestCase]:
    """Every request case, named by file and case."""
    return [
        RequestCase(
            name=f"{file}/{row['name']}",
            send=expand(row["send"], row),
            status=row.get("status", 200),
            upstream=expand(row["upstream"], row) if "upstream" in row else None,
            closes=row.get("closes", "upstream" not in row),
            lighttpd=row.get("lighttpd"),
        )
        for file in REQUEST_FILES
        for row in rows(file)
    ]


def responses(*files: str) -> list[ResponseCase]:
    """Every response case of some files, named by file and case."""
    return [
        ResponseCase(
            name=f"{file}/{row['name']}",
            send=expand(row.get("send", "GET /a HTTP/1.1\r\nHost: case.example\r\n\r\n"), row),
            reply=expand(row["reply"], row),
            then=row.get("then", "stays"),
            client=expand(row["client"], row),
            complete=row.get("complete", True),
            client_open=row.get("client_open", True),
            reused=row.get("reused", False),
            rests=row.get("rests", False),
        )
        for file in files or RESPONSE_FILES
        for row in rows(file)
    ]
