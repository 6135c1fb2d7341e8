"""What language models there are to choose from, and whether one answers."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import requests

from aragora.agents import AgentFailed, catalogue, lacking
from aragora.agents.account import account
from aragora.agents.catalogue import Model
from aragora.agents.endpoint import Endpoints
from aragora.agents.exchange import session
from aragora.agents.metering import Meter
from aragora.agents.probing import Probe, probe
from aragora.agents.providers import CHECKED, PROVIDERS, Provider
from aragora.debate.spec import AgentSpec
from aragora.errors import Forbidden, NotFound, Problem, TooManyRequests, ValidationFailed
from aragora.service.participants import not_allowed
from aragora.service.policy import EVERYTHING, Policy
from aragora.service.principal import Principal
from aragora.storage import Scope

KEPT = 60.0  # seconds for which a list, or what a model answered, is given again
MOST = 30  # models asked within a minute by this process
AT_ONCE = 4  # of them at the same time
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Offer:
    """The models of one provider that can be asked; `problem` says why they are not known.

    `default` is the one that is asked when a debate names none, "" where there is none; `checked` is when our own
    default was looked up, None where the settings name another.
    """

    type: str
    title: str
    default: str
    checked: str | None
    models: tuple[Model, ...] = ()
    problem: str | None = None


class Providers:
    """The providers that the settings configure. Any number of threads may use it."""

    def __init__(
        self,
        environ: Mapping[str, str],
        endpoints: Endpoints,
        meter: Meter,
        policy: Policy = EVERYTHING,
        *,
        connections: requests.Session | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._environ = environ
        self._endpoints = endpoints
        self._meter = meter
        self._policy = policy
        self._connections = connections
        self._clock = clock
        self._offers: dict[str, tuple[float, Offer]] = {}
        self._probes: dict[tuple[str, str | None], tuple[float, Probe]] = {}
        self._asked: deque[float] = deque(maxlen=MOST)
        self._places = threading.Semaphore(AT_ONCE)

    def offers(self, principal: Principal, name: str | None = None) -> list[Offer]:
        """What the available providers offer, or the one called `name`, of what the caller may ask.

        Raises `NotFound` for an unknown provider and `Forbidden`.
        """
        principal.demand(Scope.READ)
        wanted = [provider for provider in PROVIDERS if name in (None, provider.name)]
        if not wanted:
            names = ", ".join(provider.name for provider in PROVIDERS)
            raise NotFound(f"no provider {name!r}: take one of {names}")
        if name is None:
            wanted = [provider for provider in wanted if lacking(provider.name, "any", self._environ) is None]
        with ThreadPoolExecutor(max(1, len(wanted))) as pool:
            return [self._allowed(principal, offer) for offer in pool.map(self._offer, wanted)]

    def ask(self, principal: Principal, name: str, model: str | None) -> Probe:
        """Ask a model one word. Within a minute its answer is given again, to every caller.

        What this takes is not counted, so that callers whose spending is limited may not: raises `Forbidden`; also
        `ValidationFailed` for an unknown provider or a model that is not allowed, and `TooManyRequests`.
        """
        principal.demand(Scope.CREATE)
        if not principal.limits.unbounded and not principal.may(Scope.ADMIN):
            raise Forbidden("asking a model outside of a debate needs a token without daily limits")
        if name not in [provider.name for provider in PROVIDERS]:
            raise ValidationFailed.of(Problem("type", f"no provider {name!r}"))
        agent = AgentSpec(name, name, model)
        refusal = not_allowed(agent, self._meter, (self._policy.models, principal.models))
        if refusal is not None:
            raise ValidationFailed.of(Problem("model", refusal))
        at, kept = self._probes.get((name, model), (0.0, None))
        if kept is not None and self._clock() - at < KEPT:
            return kept
        return self._probe(name, model)

    def _probe(self, name: str, model: str | None) -> Probe:
        now = self._clock()
        if len(self._asked) == MOST and now - self._asked[0] < _MINUTE:
            raise TooManyRequests(f"at most {MOST} models are asked in a minute", retry_after=_MINUTE)
        if not self._places.acquire(blocking=False):
            raise TooManyRequests(f"at most {AT_ONCE} models are asked at once", retry_after=5.0)
        try:
            self._asked.append(now)
            found = probe(name, model, self._environ, self._endpoints, connections=self._connections)
        finally:
            self._places.release()
        self._probes = {key: kept for key, kept in self._probes.items() if now - kept[0] < KEPT}
        self._probes[name, model] = (self._clock(), found)
        return found

    def _offer(self, provider: Provider) -> Offer:
        at, kept = self._offers.get(provider.name, (0.0, None))
        if kept is not None and self._clock() - at < KEPT:
            return kept
        named = self._environ.get(provider.model_variable)
        offer = Offer(provider.name, provider.title, named or provider.model, None if named else CHECKED)
        if not offer.default:
            offer = Offer(provider.name, provider.title, "", None)
        found = self._look_up(provider, offer)
        self._offers[provider.name] = (self._clock(), found)
        return found

    def _look_up(self, provider: Provider, offer: Offer) -> Offer:
        try:
            asked = account(provider, "any", self._environ)
            deadline = self._clock() + catalogue.WAIT
            models = catalogue.models(asked, self._connections or session(), deadline, self._clock)
        except AgentFailed as failed:
            return replace(offer, problem=failed.message)
        return replace(offer, models=tuple(models))

    def _allowed(self, principal: Principal, offer: Offer) -> Offer:
        """With the models that the caller may ask."""
        lists = (self._policy.models, principal.models)
        allowed = [
            model
            for model in offer.models
            if not_allowed(AgentSpec(offer.type, offer.type, model.id), self._meter, lists) is None
        ]
        return replace(offer, models=tuple(allowed))
