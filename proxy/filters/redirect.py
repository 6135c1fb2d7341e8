"""Redirects, with parts of the request in the new address."""

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.filter_chain import NonBlocking
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.settings.values.web import PLACEHOLDER
from proxy.wire.authority import without_port
from proxy.wire.route_path import RoutePath
from proxy.wire.target import normalised, quoted


class Redirect:
    """A redirect to `template`, which may name {scheme}, {host}, {path}, {rest} and {query}.

    {host} is the request's host without its port, {rest} its path behind that of the route (it begins with a slash),
    {query} its query with the question mark, or nothing. Everything that a request brings was checked with its head:
    no part of it can end a line or hold a space.
    """

    def __init__(self, template: str, status: int, path: RoutePath) -> None:
        self._pieces = [piece.encode() for piece in PLACEHOLDER.split(template)]
        self._absolute = not template.startswith(("/", "{path}", "{rest}"))
        self._status = status
        self._path = path

    def check(self, request: Request) -> LocalResponse:
        """Raises `ExchangeError` where the template needs a host and an HTTP/1.0 client named none."""
        target = request.target if request.target != b"*" else b"/"
        path, mark, query = target.partition(b"?")
        values = {
            b"scheme": request.scheme,
            b"host": without_port(request.host or b""),
            b"path": path,
            b"rest": self._path.rest(path),
            b"query": mark + query,
        }
        if b"host" in self._pieces[1::2] and not request.host:
            raise ExchangeError(errors.HOST, "missing")
        location = b"".join(values[piece] if place % 2 else piece for place, piece in enumerate(self._pieces))
        if not self._absolute:
            # "//host" and "/\host" are addresses elsewhere to a browser: one slash, as the template has it.
            location = b"/" + location.lstrip(b"/\\")
        return LocalResponse(self._status, (b"Location: " + location,))


class Slash(NonBlocking):
    """Redirects from a mount point without its slash to the one with it.

    The links of a page that is mounted at /app/ are relative to that: at /app they would lead elsewhere. Only what a
    browser asks for is redirected, not a WebSocket nor what has side effects. The new address is the configured one:
    nothing but the query and the values of variables comes from the client, and those are encoded.
    """

    def __init__(self, mount: RoutePath) -> None:
        self._mount = mount
        self._bare = mount.without_slash()

    def check(self, request: Request) -> LocalResponse | None:
        path, mark, query = request.target.partition(b"?")
        if (
            request.method not in (b"GET", b"HEAD")
            or request.fields.websocket
            or not self._bare.takes(normalised(path))
        ):
            return None
        return LocalResponse(308, (b"Location: %s/%s%s" % (quoted(self._mount.prefix(path)), mark, query),))
