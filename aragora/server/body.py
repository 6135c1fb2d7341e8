"""From bytes to JSON, strictly: what two parsers could read differently is refused.

RFC 8259 leaves repeated names, NaN, lone surrogates and depth to the parser; here each is an error, for request bodies
and WebSocket frames alike.
"""

import json
import math
from typing import Any

import falcon
from gunicorn.http.errors import ParseException

from aragora.errors import BadRequest, PayloadTooLarge
from aragora.server.problems import UnsupportedMediaType

MAX_DEPTH = 32


def parse(raw: bytes | str) -> Any:
    """The value that `raw` spells; raises `BadRequest` saying what is wrong with it."""
    try:
        text = raw if isinstance(raw, str) else raw.decode()
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg}, line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise BadRequest(f"the JSON is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        # Python refuses integers of more than 4,300 digits here, in words about its own settings.
        problem = "a number has too many digits" if "integer string" in str(error) else str(error)
        raise BadRequest(f"the body is not JSON: {problem}") from None
    _check(value)
    return value


def read(req: falcon.Request, limit: int) -> Any:
    """The JSON body of `req`, at most `limit` bytes; raises `PayloadTooLarge`, `UnsupportedMediaType`, `BadRequest`."""
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType("send Content-Type: application/json")
    raw = read_raw(req, limit)
    if not raw.strip():
        raise BadRequest("the body is empty; a JSON object is needed")
    return parse(raw)


def read_raw(req: falcon.Request, limit: int) -> bytes:
    """The body of `req` as it came, at most `limit` bytes; raises `PayloadTooLarge` and `BadRequest`."""
    if (req.content_length or 0) > limit:
        raise PayloadTooLarge(f"the body is longer than {limit} bytes")
    # A chunked body has no length to tell: the stream itself ends.
    source = req.bounded_stream if req.content_length is not None else req.env["wsgi.input"]
    raw = _read_to(source, limit)
    if len(raw) > limit:
        raise PayloadTooLarge(f"the body is longer than {limit} bytes")
    if len(raw) < (req.content_length or 0):
        raise BadRequest("the body is shorter than its Content-Length: it broke off on the way")
    return raw


def _read_to(source: Any, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= limit:
        try:
            part = source.read(min(65_536, limit + 1 - size))
        except (OSError, ParseException):
            raise BadRequest("the body broke off on the way, or its chunks cannot be read") from None
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _check(root: Any) -> None:
    """Bound the depth, and refuse what neither database can store; a loop, so that depth costs no stack."""
    pending: list[tuple[Any, int]] = [(root, 1)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise BadRequest("a number is too large")
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise BadRequest(f"the JSON is nested deeper than {MAX_DEPTH} levels")
            if isinstance(value, dict):
                pending.extend((name, depth) for name in value)
                value = list(value.values())
            pending.extend((item, depth + 1) for item in value)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise BadRequest("a string contains the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest("a string contains half of a surrogate pair") from None
