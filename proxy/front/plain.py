"""Plain HTTP beside TLS: redirects to https, and answers to an ACME authority's challenges (RFC 8555 section 8.3)."""

from proxy import errors
from proxy.acme.state import State
from proxy.errors import ExchangeError
from proxy.gate.answer import Answer
from proxy.gate.gate import Gate, Step
from proxy.gate.redirect import Redirect
from proxy.relay import RelayLimits
from proxy.route import Match, Route, Tables
from proxy.settings import Settings
from proxy.upstream import balance
from proxy.upstream.cluster import Cluster
from proxy.upstream.request import Request

CHALLENGES = b"/.well-known/acme-challenge/"
_HTTPS = 443


def plain_tables(tables: Tables, https_port: int) -> Tables:
    """The routes of the listeners without TLS, made from those with it.

    `https_port` is where TLS is spoken on this machine.
    """
    settings = tables.settings
    steps: list[Step] = []
    if settings.acme and settings.state_dir is not None:
        steps.append(Challenges(State(settings.state_dir, settings.acme_directory)))
    if settings.https_redirect:
        route = _route("https", settings, [*steps, ToHttps(https_port)])
        return Tables(settings, tables.head_limits, [Match(b"", b"/", False, route)])
    matches = list(tables.matches)
    if steps:
        route = _route("acme-challenge", settings, steps)
        matches += [Match(domain.encode(), CHALLENGES, False, route) for domain in settings.domain]
    return Tables(settings, tables.head_limits, matches)


def _route(name: str, settings: Settings, steps: list[Step]) -> Route:
    limits = RelayLimits(settings.read_timeout, settings.write_timeout, 0, 0, None)
    return Route(name, settings, limits, Cluster([], balance.policy(settings.balance)), Gate(steps))


class ToHttps:
    """Sends everybody to the same address with TLS.

    A client that came by the default port (its Host names none) finds TLS at the default port too, whatever the
    listeners' own numbers are: a container or a firewall may have mapped them.
    """

    def __init__(self, port: int) -> None:
        place = "" if port == _HTTPS else f":{port}"
        self._default = Redirect("https://{host}{path}{query}", 308, b"")
        self._numbered = Redirect("https://{host}" + place + "{path}{query}", 308, b"")

    def check(self, request: Request) -> Answer | None:
        host = request.host or b""
        numbered = host.rpartition(b":")[2].isdigit()
        return (self._numbered if numbered else self._default).check(request)


class Challenges:
    """Answers the challenges that are pending, whichever worker has asked for them."""

    def __init__(self, state: State) -> None:
        self._state = state

    def check(self, request: Request) -> Answer | None:
        path = request.target.partition(b"?")[0]
        if not path.startswith(CHALLENGES):
            return None
        response = self._state.response(path[len(CHALLENGES) :].decode("latin-1"))
        if response is None:
            raise ExchangeError(errors.NO_ROUTE)
        return Answer(200, (b"Content-Type: application/octet-stream", b"Cache-Control: no-store"), response)
