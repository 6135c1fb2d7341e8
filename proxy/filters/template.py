"""Texts with parts of the request in the place of their placeholders (`proxy.settings.values.template`).

What a part can contain depends on where the text goes: in an address nothing that is not of the path itself may change
its structure, in a page or a JSON document nothing may end a text. Control characters never pass.
"""

import html
import json
from collections.abc import Callable
from urllib.parse import quote_from_bytes

from proxy.exchange.request import Request
from proxy.settings.values import template
from proxy.wire.authority import without_port
from proxy.wire.route_path import RoutePath
from proxy.wire.target import normalised

Escape = Callable[[str, bytes], bytes]
"""Name and value of a part to what stands for it."""

_CONTROLS = bytes([*range(32), 127])
_OF_ADDRESSES = frozenset({"scheme", "host", "path", "rest", "query"})


class Template:
    """A text of a route that applies at `path`; `upstream` is the address of its first upstream.

    With `slash` {rest}, which is what the request's path has behind the route's, begins with one even if it is empty.
    """

    def __init__(
        self, text: str, path: RoutePath, upstream: str = "", escape: Escape | None = None, *, slash: bool = True
    ) -> None:
        self._pieces = [piece if place % 2 else piece.encode() for place, piece in enumerate(template.split(text))]
        self.names = frozenset(template.names(text))
        self._path = path
        self._bare = None if slash else path.without_slash()
        self._upstream = upstream.encode()
        self._escape = escape

    @property
    def text(self) -> str:
        """The text itself, of one without placeholders."""
        return b"".join(piece for piece in self._pieces if isinstance(piece, bytes)).decode()

    def filled(self, request: Request, unknown: bytes | None = None) -> bytes | None:
        """The text for a request; None if it lacks a part of it, unless there is something for `unknown` ones."""
        found = b""
        for piece in self._pieces:
            if isinstance(piece, bytes):
                found += piece
                continue
            part = self._part(piece, request)
            if part is None:
                if unknown is None:
                    return None
                part = unknown
            part = part.translate(None, _CONTROLS)
            found += part if self._escape is None else self._escape(piece, part)
        return found

    def _part(self, name: str, request: Request) -> bytes | None:
        if name == "rest":
            path = _path(request)
            if self._bare is not None and self._bare.takes(normalised(path)):
                return b""
            return self._path.rest(path)
        if name == "upstream":
            return self._upstream
        value = _VALUES.get(name)
        return self._path.values(request.target)[name.encode()] if value is None else value(request)


def for_address(name: str, value: bytes) -> bytes:
    """A part of an address: variables are encoded already, and parts of the target are as the client wrote them."""
    return value if name in _OF_ADDRESSES or name not in _VALUES else quote_from_bytes(value, "").encode()


def for_page(_name: str, value: bytes) -> bytes:
    """A part of HTML or XML, in text or in a quoted attribute."""
    return html.escape(_text(value)).encode()


def for_json(_name: str, value: bytes) -> bytes:
    """A part of a string of JSON."""
    return json.dumps(_text(value))[1:-1].encode()


def escape_for(content_type: str) -> Escape | None:
    """How parts are escaped in a document of this type, which `proxy.settings.check` has found to be one of these."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.endswith(("/json", "+json")):
        return for_json
    return None if kind == "text/plain" else for_page


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _path(request: Request) -> bytes:
    return request.target.partition(b"?")[0] if request.target != b"*" else b"/"


def _query(request: Request) -> bytes:
    _, mark, query = request.target.partition(b"?")
    return mark + query


_VALUES: dict[str, Callable[[Request], bytes | None]] = {
    "user": lambda request: request.user,
    "client": lambda request: request.client.encode() or None,
    "scheme": lambda request: request.scheme,
    "host": lambda request: without_port(request.host or b"") or None,
    "method": lambda request: request.method,
    "path": _path,
    "query": _query,
    "request_id": lambda request: request.id,
    "tls_client_subject": lambda request: (request.certificate and request.certificate.subject) or None,
}
