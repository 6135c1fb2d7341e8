"""Plain HTTP beside TLS: redirects to https, and responses to an ACME authority's challenges (RFC 8555 section 8.3).

Both come before a route's own filters. What they let pass is served as it is over TLS:

- with `https_redirect` off everything;
- what a trusted proxy in front received over TLS (X-Forwarded-Proto: https), since a redirect would loop;
- challenges of authorities that a server behind the gateway has asked for certificates.

Where client certificates are required only the first passes: no client can present one here.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from proxy.acme.pending_challenges import PendingChallenges
from proxy.exchange.filter_chain import Filter, FilterChain, NonBlocking
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.relay import RelayLimits
from proxy.exchange.request import Request
from proxy.exchange.route import Match, Route, Tables
from proxy.filters.build import NoRoute
from proxy.filters.redirect import Redirect
from proxy.settings import Settings
from proxy.upstream import balance
from proxy.upstream.cluster import Cluster
from proxy.wire.authority import AUTHORITIES, DEFAULT_PORTS
from proxy.wire.route_path import ROOT

_CHALLENGES = b"/.well-known/acme-challenge/"
_CHALLENGE = re.compile(re.escape(_CHALLENGES) + rb"([A-Za-z0-9_-]{1,256})")
_SAFE = (b"GET", b"HEAD")
_HTTPS = 443


def plain_tables(tables: Tables, https_port: int) -> Tables:
    """The routes of the listeners without TLS, made from those with it.

    `https_port` is where TLS is spoken on this machine.
    """
    settings = tables.settings
    steps: list[Filter] = []
    if settings.acme:
        pending = PendingChallenges(settings)
        steps.append(SharedChallenges(pending) if pending.waits else Challenges(pending))
    if settings.https_redirect:
        steps.append(ToHttps(https_port, settings))
    if not steps:
        return tables
    after = {route: _after(steps, route) for route in tables.routes}
    matches = [replace(match, route=after[match.route]) for match in tables.matches]
    return Tables(settings, tables.head_limits, [*matches, Match(b"", ROOT, _unrouted(steps, settings))])


def _after(steps: Sequence[Filter], route: Route) -> Route:
    return replace(route, filters=FilterChain(steps) if route.filters is None else route.filters.after(steps))


def _unrouted(steps: Sequence[Filter], settings: Settings) -> Route:
    limits = RelayLimits.of(settings)
    return Route(
        "plain", settings, limits, Cluster([], balance.policy(settings.balance)), FilterChain([*steps, NoRoute()])
    )


class ToHttps(NonBlocking):
    """Redirects each request to the same address over TLS.

    A client that came by the default port (its Host names none, or 80) finds TLS at the default port too, whatever the
    listeners' own numbers are: a container or a firewall may have mapped them.
    """

    def __init__(self, port: int, settings: Settings) -> None:
        place = "" if port == _HTTPS else f":{port}"
        self._default = Redirect("https://{host}{path}{query}", 308, ROOT)
        self._numbered = Redirect("https://{host}" + place + "{path}{query}", 308, ROOT)
        mutual = settings.tls_client_ca is not None and settings.tls_client_auth == "required"
        self._believes = not mutual
        self._asked = bool(settings.acme) and not mutual

    def check(self, request: Request) -> LocalResponse | None:
        if self._believes and request.scheme == b"https":
            return None
        if self._asked and request.method in _SAFE and _CHALLENGE.fullmatch(request.target):
            return None
        authority = AUTHORITIES[request.host or b""]
        numbered = authority is not None and authority.port not in (None, DEFAULT_PORTS[b"http"])
        return (self._numbered if numbered else self._default).check(request)


class SharedChallenges:
    """Answers the challenges that are pending, whichever worker of whichever gateway has asked for them."""

    def __init__(self, pending: PendingChallenges) -> None:
        self._pending = pending

    def check(self, request: Request) -> LocalResponse | None:
        if not request.target.startswith(_CHALLENGES):
            return None
        found = _CHALLENGE.fullmatch(request.target.partition(b"?")[0])
        response = self._pending.response(found[1].decode("ascii")) if found is not None else None
        if response is None:
            return None
        return LocalResponse(200, (b"Content-Type: application/octet-stream", b"Cache-Control: no-store"), response)


class Challenges(SharedChallenges, NonBlocking):
    """Those of this gateway alone: looking for one never waits."""
