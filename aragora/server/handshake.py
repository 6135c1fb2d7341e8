"""Which clients may open a WebSocket: decided before the connection is one, for every server alike.

A program is refused by an HTTP status in place of the 101. A page cannot see that: where the reason is of use to it,
the connection is accepted and closed at once with a code that it can show.
"""

from collections.abc import MutableMapping
from typing import Any

import falcon

from aragora.errors import AragoraError, Forbidden, Unauthorized
from aragora.server import auth, forwarding, process
from aragora.server.audit import OPEN, Caller
from aragora.server.context import RequestContext
from aragora.server.session import FORBIDDEN_ORIGIN, GOING_AWAY, UNAUTHORIZED, Closed

PATHS = frozenset({"/ws", "/"})


def is_handshake(environ: dict[str, Any]) -> bool:
    """Whether the request asks for a WebSocket where there is one, and has not been refused it."""
    if RequestContext.of(environ).error is not None:
        return False
    asked = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"] in PATHS
    return asked and environ.get("HTTP_UPGRADE", "").lower() == "websocket"


class UpgradeNeeded(AragoraError):  # noqa: N818 - named as its siblings in aragora.errors
    """`/ws` speaks WebSocket only."""

    code = "upgrade_required"
    http_status = 426


class NoUpgrade:
    """`/ws` without an upgrade."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Say what is missing (RFC 9110 section 15.5.22)."""
        if not forwarding.is_forwarded(req.env):
            # For this connection only: nginx would pass it on to a client of HTTP/2, to which it must not be sent.
            resp.set_header("Upgrade", "websocket")
        raise UpgradeNeeded("this address speaks WebSocket: send Upgrade: websocket")


def admit(environ: MutableMapping[str, Any], token: str | None) -> None:
    """Return if the client of this handshake may speak with us; `token` is the offered subprotocol that has one.

    Leaves the caller in the request's context. Raises `AragoraError` where HTTP is to answer in place of the 101, and
    `Closed` where the connection is to be accepted and closed.
    """
    here = process.current()
    settings = here.settings
    host, origin = environ.get("HTTP_HOST"), environ.get("HTTP_ORIGIN")
    principal = here.access.principal(auth.given_token(environ.get("HTTP_AUTHORIZATION"), token))
    RequestContext.of(environ).principal = principal
    caller = Caller.of(environ, token)
    auth.check_host(host, settings.url, guarded=here.access.needs_token())
    if not auth.origin_allowed(origin, host, settings.allowed_origins):
        here.audit.record(caller, OPEN, origin or "-", Forbidden.http_status)
        raise Closed(FORBIDDEN_ORIGIN, "origin not allowed")
    if principal is None:
        if origin is None:
            raise Unauthorized("a known token is needed: Authorization: Bearer TOKEN")
        here.audit.record(caller, OPEN, origin, Unauthorized.http_status)
        raise Closed(UNAUTHORIZED, "a known token is needed")
    if here.draining:
        raise Closed(GOING_AWAY, "going away")


def refuse(environ: dict[str, Any], error: AragoraError) -> None:
    """Let this handshake be answered with `error`, as an ordinary request."""
    context = RequestContext.of(environ)
    context.error = error
    context.action = (OPEN, environ.get("HTTP_ORIGIN") or "-")
