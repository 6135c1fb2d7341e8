"""From a request to the rules of a debate."""

import hashlib
import secrets
from collections.abc import Mapping

from aragora.agents.metering import Meter
from aragora.debate.phases import Office
from aragora.debate.spec import DebateSpec
from aragora.errors import Problem, ValidationFailed
from aragora.service.participants import participants
from aragora.service.policy import Policy
from aragora.service.principal import Principal
from aragora.service.requests import NewDebate
from aragora.storage import Hold


def draft(new: NewDebate, environ: Mapping[str, str], meter: Meter, policy: Policy, principal: Principal) -> DebateSpec:
    """The rules that `new` asks for, as far as they are allowed; raises `ValidationFailed`."""
    agents = participants(new.agents, environ, meter, (policy.models, principal.models))
    models = sum(meter.is_counted(agent) for agent in agents)
    if models * new.rounds > policy.agent_rounds:
        told = f"{models} models x {new.rounds} rounds, at most {policy.agent_rounds}"
        raise ValidationFailed.of(Problem("rounds", told))
    has_chairman = any((agent.role or "").strip().casefold() == Office.CHAIRMAN for agent in agents)
    try:
        return DebateSpec(
            question=new.question,
            agents=agents,
            rounds=new.rounds,
            consensus=new.consensus,
            threshold=new.threshold,
            context=new.context,
            early_stop=new.early_stop,
            timeout=new.timeout,
            budget=policy.bounded(new.budget),
            criteria=new.criteria,
            synthesis=has_chairman if new.synthesis is None else new.synthesis,
            secret=secrets.token_hex(16),
        )
    except ValueError as error:
        field, _, problem = str(error).partition(": ")
        raise ValidationFailed.of(Problem(field, problem)) from None


def least(spec: DebateSpec, meter: Meter) -> Hold | None:
    """What the first question takes at the very least; None where none takes anything."""
    counted = [agent for agent in spec.agents if meter.is_counted(agent)]
    costs = any(meter.price(agent).output for agent in counted)
    return Hold(1, int(costs)) if counted else None


def own_key(key: str | None, principal: Principal) -> str | None:
    """An idempotency key as it is stored: beside those of other callers, and of one length."""
    if key is None or not principal.key:
        return key
    return hashlib.sha256(f"{principal.key}\n{key}".encode()).hexdigest()
