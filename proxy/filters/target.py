"""The target that a route asks its upstream for in the place of the client's."""

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.filters.template import Template, for_address
from proxy.wire.route_path import RoutePath
from proxy.wire.target import has_dot_segment


class TargetRewrite:
    """A template of a path, and of a query if it has one; else the client's query stays.

    Where nothing is behind the route's path {rest} is empty: /new{rest} asks for /new, not for /new/.
    """

    def __init__(self, template: str, path: RoutePath, upstream: str) -> None:
        self._template = Template(template, path, upstream, _for_target, slash=False)
        self._has_query = "?" in template or "query" in self._template.names

    def target(self, request: Request) -> bytes:
        """The target for the upstream.

        Raises `ExchangeError`: 403 if the request lacks what the template names, 400 if a part of it would be a dot
        segment.
        """
        found = self._template.filled(request)
        if found is None:
            raise ExchangeError(errors.FORBIDDEN, "no value for a placeholder of rewrite")
        found = b"/" + found.lstrip(b"/\\")  # "//host" is an address elsewhere to an application that redirects to it
        if has_dot_segment(found) and not has_dot_segment(request.target):
            raise ExchangeError(errors.TARGET_PATH)
        _, mark, query = request.target.partition(b"?")
        return found if self._has_query else found + mark + query


def _for_target(name: str, value: bytes) -> bytes:
    found = for_address(name, value)
    if name not in ("path", "rest", "query") and has_dot_segment(b"/" + found):
        raise ExchangeError(errors.TARGET_PATH)
    return found
