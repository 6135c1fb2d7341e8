"""Cross-origin requests: what pages of other origins may request, as browsers enforce it (Fetch, section 3.3)."""

from collections.abc import Iterable

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.wire.fields import field_value, with_vary

_FAMILY = b"access-control-"


def is_preflight(request: Request) -> bool:
    """Whether a browser asks in advance whether it may send a request (Fetch, section 3.3.4)."""
    lines = request.fields.lines
    return (
        request.method == b"OPTIONS"
        and field_value(lines, b"access-control-request-method") is not None
        and field_value(lines, b"origin") is not None
    )


class Cors:
    """The allowed origins, and what they may send. `credentials` never goes with the origin `*`: check before."""

    def __init__(
        self,
        origins: Iterable[str],
        methods: Iterable[str],
        fields: Iterable[str],
        *,
        credentials: bool,
        max_age: float,
    ) -> None:
        self._origins = frozenset(origin.lower().encode() for origin in origins)
        self._any = b"*" in self._origins
        self._credentials = (b"Access-Control-Allow-Credentials: true",) if credentials and not self._any else ()
        self._preflight = [
            b"Access-Control-Allow-Methods: " + b", ".join(method.upper().encode() for method in methods),
            b"Access-Control-Max-Age: %d" % max_age,
        ]
        allowed = b", ".join(name.encode() for name in fields)
        if allowed:
            self._preflight.append(b"Access-Control-Allow-Headers: " + allowed)

    def preflight(self, request: Request) -> LocalResponse | None:
        """The response to a browser's preflight request, or None for any other request.

        Raises `ExchangeError` (403) for an origin that is not allowed.
        """
        if not is_preflight(request):
            return None
        granted = self._granted(field_value(request.fields.lines, b"origin") or b"")
        if not granted:
            raise ExchangeError(errors.CORS_ORIGIN, fields=(b"Vary: Origin",))
        vary = b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        return LocalResponse(204, (*granted, *self._preflight, vary))

    def allow(self, request_lines: list[bytes], lines: list[bytes]) -> list[bytes]:
        """The field lines of a response with the permission for its origin added.

        An application that sets these fields itself is left alone: browsers reject two permissions.
        """
        if any(line[: len(_FAMILY)].lower() == _FAMILY for line in lines):
            return lines
        origin = field_value(request_lines, b"origin")
        granted = self._granted(origin) if origin is not None else ()
        if self._any:
            return [*lines, *granted]
        # Also without an Origin: a cache must not give such a response to clients that send one.
        return with_vary([*lines, *granted], b"Origin")

    def _granted(self, origin: bytes) -> tuple[bytes, ...]:
        if self._any:
            return (b"Access-Control-Allow-Origin: *",)
        if origin.lower() in self._origins:
            return (b"Access-Control-Allow-Origin: " + origin, *self._credentials)
        return ()


class Preflight:
    """The filter that responds to preflight requests; all others pass."""

    def __init__(self, cors: Cors) -> None:
        self._cors = cors

    def check(self, request: Request) -> LocalResponse | None:
        return self._cors.preflight(request)
