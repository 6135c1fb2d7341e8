"""The admin address as a route: its requests go through the exchange as all others do, and are logged and counted."""

from dataclasses import replace
from typing import Final

from proxy import errors
from proxy.admin.admin import Admin
from proxy.admin.response import AdminRequest
from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.relay import RelayLimits
from proxy.exchange.request import Request
from proxy.exchange.route import Match, Route, Tables
from proxy.net.spool import Spool
from proxy.observe.exchange_counters import RouteCounters
from proxy.observe.log_formats import ADMIN
from proxy.settings import Settings
from proxy.upstream import balance
from proxy.upstream.cluster import Cluster
from proxy.wire.head import CRLF
from proxy.wire.route_path import ROOT

_MOST_BODY: Final = 16 << 10  # bytes
_BODY_TIMEOUT: Final = 10.0  # seconds


class AdminResponder:
    """Responds for the admin address; `proven`: the listener itself shows that its clients may send commands."""

    def __init__(self, admin: Admin, *, proven: bool) -> None:
        self.name: Final = ADMIN
        self._admin = admin
        self._proven = proven

    def respond(self, request: Request) -> LocalResponse:
        """Respond; may wait for workers' reports and commands. Raises `ExchangeError`."""
        fields, body = request.fields, _body(request)
        response = self._admin.respond(
            AdminRequest.of_lines(request.method, request.target, fields.host, fields.lines, body, proven=self._proven)
        )
        lines = (b"Content-Type: " + response.content_type.encode(), b"Cache-Control: no-store")
        return LocalResponse(response.status, (*lines, *response.fields.split(CRLF)[:-1]), response.body)


def _body(request: Request) -> bytes:
    body = request.body
    if isinstance(body, Spool):
        try:
            return b"".join(body.pieces())
        except OSError as error:
            raise ExchangeError(errors.SPOOL, error.strerror or "") from None
    assert body is None or isinstance(body, bytes)
    return body or b""


def admin_tables(tables: Tables, admin: Admin, counted: RouteCounters, *, proven: bool) -> Tables:
    """The one route of a listener for the admin address; `tables` are those of the other listeners.

    The bodies of commands have bounds of their own.
    """
    settings = tables.settings
    own: Settings = replace(
        settings,
        max_body=_MOST_BODY,
        body_memory=_MOST_BODY,
        body_timeout=min(_BODY_TIMEOUT, settings.body_timeout),
        request_buffering=True,
    )
    cluster = Cluster([], balance.policy(settings.balance))
    responder = AdminResponder(admin, proven=proven)
    route = Route(ADMIN, own, RelayLimits.of(own), cluster, None, responder=responder, counted=counted)
    return Tables(replace(settings, tracing=False), tables.head_limits, [Match(b"", ROOT, route)])
