"""Redirects, with parts of the request in the new address."""

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.filter_chain import NonBlocking
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.filters.template import Template, for_address
from proxy.wire.route_path import RoutePath
from proxy.wire.target import normalised, quoted


class Redirect:
    """A redirect to a template.

    {host} is the request's host without its port, {rest} its path behind that of the route (it begins with a slash),
    {query} its query with the question mark, or nothing.
    """

    def __init__(self, template: str, status: int, path: RoutePath, upstream: str = "") -> None:
        self._template = Template(template, path, upstream, for_address)
        self._absolute = not template.startswith(("/", "{path}", "{rest}"))
        self._status = status

    def check(self, request: Request) -> LocalResponse:
        """Raises `ExchangeError` where the template needs a host and an HTTP/1.0 client named none."""
        if "host" in self._template.names and not request.host:
            raise ExchangeError(errors.HOST, "missing")
        location = self._template.filled(request, b"") or b""
        if not self._absolute:
            # "//host" and "/\\host" are addresses elsewhere to a browser: one slash, as the template has it.
            location = b"/" + location.lstrip(b"/\\")
        return LocalResponse(self._status, (b"Location: " + location,))


class Slash(NonBlocking):
    """Redirects from a mount point without its slash to the one with it.

    The links of a page that is mounted at /app/ are relative to that: at /app they would lead elsewhere. Only what a
    browser asks for is redirected, not an upgrade nor what has side effects. The new address is the configured one:
    nothing but the query and the values of variables comes from the client, and those are encoded.
    """

    def __init__(self, mount: RoutePath) -> None:
        self._mount = mount
        self._bare = mount.without_slash()

    def check(self, request: Request) -> LocalResponse | None:
        path, mark, query = request.target.partition(b"?")
        if request.method not in (b"GET", b"HEAD") or request.upgrade or not self._bare.takes(normalised(path)):
            return None
        return LocalResponse(308, (b"Location: %s/%s%s" % (quoted(self._mount.prefix(path)), mark, query),))
