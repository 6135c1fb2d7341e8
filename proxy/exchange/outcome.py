"""How an exchange ended: for the access log, the counters and the peer's health."""

from time import monotonic, time
from typing import Final, NamedTuple

from proxy import errors
from proxy.errors import Blame, ExchangeError, Phase
from proxy.exchange.caching import Fetch
from proxy.exchange.context import ExchangeContext
from proxy.exchange.downstream_leg import DownstreamLeg
from proxy.exchange.fault import log_fault
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.exchange.route import Route
from proxy.exchange.states import PHASES, State
from proxy.exchange.upstream_leg import UpstreamLeg
from proxy.log import log
from proxy.net.spool import Spool
from proxy.observe.spans import Span, Spans
from proxy.wire.tracing import Trace


class Outcome(NamedTuple):
    """Termination code, two letters for blame and phase, and the reason of a failure (`proxy.errors`)."""

    termination: str
    reason: str


COMPLETE: Final = Outcome("--", "")

_BEFORE_UPSTREAM: Final = (Phase.HEAD, Phase.BODY)
_UPSTREAM: Final = (Blame.UPSTREAM, Blame.UPSTREAM_SLOW)
_BEFORE_RESPONSE: Final = (State.LEASE, State.SEND, State.AWAIT)


def count_failure(
    error: ExchangeError,
    route: Route | None,
    request: Request,
    state: State,
    upstream: UpstreamLeg,
    context: ExchangeContext,
) -> Outcome:
    """Count a failure in this state, also against the peer if it is to blame."""
    failure = error.failure
    phase = upstream.phase(PHASES[state])
    if error.detail and failure.blame is not Blame.CLIENT:
        peer = f" of {upstream.peer}" if upstream.peer else ""
        log.info("request %s%s: %s", request.id.decode("latin-1"), peer, error)
    if route is None or route.settings.metrics:
        early = phase in _BEFORE_UPSTREAM and failure.status != 499
        (context.counters.rejected if early else context.counters.failed)(failure.reason)
    if phase is Phase.RESPONSE and failure.blame in _UPSTREAM:
        upstream.failed(str(error))
    if failure is errors.INTERNAL:
        upstream.close()  # how much of it was read is not known
    return Outcome((failure.blame or Blame.CLIENT) + phase, failure.reason)


def outcome_of_tunnel(blame: Blame, route: Route, context: ExchangeContext) -> Outcome:
    """How a tunnel has ended. A side that is to blame for being slow has not answered a ping, which is counted."""
    if blame is Blame.NOBODY:
        return COMPLETE
    reason = ""
    if blame in (Blame.CLIENT_SLOW, Blame.UPSTREAM_SLOW):
        reason = errors.PING_TIMEOUT.reason
        if route.settings.metrics:
            context.counters.failed(reason)
    return Outcome(blame + Phase.TUNNEL, reason)


def stored_instead(
    error: Exception,
    state: State,
    fetch: Fetch | None,
    route: Route | None,
    request: Request,
    upstream: UpstreamLeg,
    context: ExchangeContext,
) -> LocalResponse | None:
    """What is stored for a request whose upstream failed before it responded; the failure is counted all the same."""
    if fetch is None or state not in _BEFORE_RESPONSE or not isinstance(error, ExchangeError):
        return None
    try:
        stored = fetch.instead(error)
    except Exception as fault:  # noqa: BLE001 - the failure itself is still to be answered
        log_fault(fault, request)
        return None
    if stored is not None:
        count_failure(error, route, request, state, upstream, context)
        upstream.close()
    return stored


def release(upstream: UpstreamLeg, local: LocalResponse | None, fetch: Fetch | None, body: object) -> None:
    """What only a greenlet takes, what a local response holds, and a connection that did not come to its end."""
    upstream.close()
    if local is not None:
        local.close()
    if fetch is not None:
        fetch.close()
    if isinstance(body, Spool):
        body.close()


def record(
    context: ExchangeContext,
    route: Route | None,
    request: Request,
    upstream: UpstreamLeg,
    client: DownstreamLeg,
    outcome: Outcome,
) -> None:
    """Count an exchange that has ended, and write its line."""
    total = monotonic() - request.started
    if request.release is not None:
        request.release()
    status, sent = client.status, client.downstream.sent
    counted = context.unrouted if route is None else route.counted
    counted[upstream.peer].exchange(request.method, status, total, request.received, sent)
    trace = request.trace
    if trace is not None and context.spans is not None:
        _record_span(context.spans, trace, route, request, upstream, client, outcome, total)
    access_log = context.access_log
    if access_log.enabled:
        fields = request.fields
        name, share, user = "", 1.0, None
        if route is not None:
            name, share = route.name, route.logged
            if route.authenticates:
                user = request.user
        access_log.record(
            # A plain tuple in the order of `Entry`: making a named one takes four times as long.
            (
                time() - total,
                request.client,
                request.method,
                request.target,
                request.minor,
                status,
                sent,
                request.received,
                fields.referer,
                fields.user_agent,
                request.id,
                upstream.peer,
                upstream.queue,
                upstream.connect,
                upstream.first_byte,
                total,
                outcome[0],
                outcome[1],
                b"" if trace is None else trace.trace_id,
                request.host,
                user,
                name,
                b"" if request.certificate is None else request.certificate.subject,
            ),
            share,
        )


def _record_span(
    spans: Spans,
    trace: Trace,
    route: Route | None,
    request: Request,
    upstream: UpstreamLeg,
    client: DownstreamLeg,
    outcome: Outcome,
    total: float,
) -> None:
    """Have the span of an exchange sent, if its trace is recorded and does not merely pass through."""
    trace_context = request.trace_context
    if trace_context is None or not trace_context.tracing or not trace.sampled:
        return
    parent = trace_context.trace
    fields = request.fields
    spans.record(
        Span(
            trace.trace_id,
            trace.span,
            b"" if parent is None else parent.span,
            trace.state or b"",
            time() - total,
            total,
            request.client,
            request.method,
            request.scheme,
            request.host or b"",
            request.target,
            request.minor,
            fields.user_agent or b"",
            client.status,
            request.received,
            client.downstream.sent,
            request.id,
            "" if route is None else route.name,
            upstream.peer,
            outcome.termination,
            outcome.reason,
            _events(route, request, upstream),
        )
    )


def _events(route: Route | None, request: Request, upstream: UpstreamLeg) -> tuple[tuple[str, float], ...]:
    """The phases that an exchange came to after its head was read, and when each began."""
    events = []
    if upstream.connected:
        connected = upstream.connected - request.started
        connecting = connected - upstream.connect
        events += [
            ("request read", connecting - upstream.queue),
            ("connecting to the upstream", connecting),
            ("connected", connected),
        ]
    if upstream.deadline and route is not None:
        events.append(("request sent", upstream.deadline - route.settings.read_timeout - request.started))
    if upstream.first_byte >= 0.0:
        events.append(("response begun", upstream.first_byte))
    return tuple(events)
