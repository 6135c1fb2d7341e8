"""From a 101 to the end of the tunnel that it opens (RFC 9110 section 7.8)."""

from collections.abc import Callable
from time import time

from proxy.errors import Blame
from proxy.exchange.context import ExchangeContext
from proxy.exchange.downstream import OpenTunnel, TunnelOrigin
from proxy.exchange.downstream_leg import DownstreamLeg
from proxy.exchange.outcome import outcome_of_tunnel, record
from proxy.exchange.request import Request
from proxy.exchange.route import Route
from proxy.exchange.upstream_leg import UpstreamLeg
from proxy.wire.response import ResponseHead


def open_tunnel(
    context: ExchangeContext,
    route: Route,
    request: Request,
    upstream: UpstreamLeg,
    client: DownstreamLeg,
    response: ResponseHead,
    rest: bytes,
    ended: Callable[[], None],
) -> None:
    """Relay both ways from now on; `rest` is what came behind the 101.

    When both directions are done, `ended` is called and the exchange recorded. Raises `ExchangeError` or `ClientGone`.
    """

    def record_end(tunnel: OpenTunnel, blame: Blame, to_client: int, to_upstream: int) -> None:
        context.tunnels.pop(tunnel, None)
        context.counters.tunnel_bytes(to_upstream, to_client)
        client.downstream.sent += to_client
        request.received += to_upstream
        ended()
        record(context, route, request, upstream, client, outcome_of_tunnel(blame, route, context))

    lease = upstream.lease
    assert lease is not None
    origin = TunnelOrigin(request.client, request.target, upstream.peer, time(), request.upgrade)
    client.open_tunnel(response, rest, lease, route.settings, origin, record_end)
