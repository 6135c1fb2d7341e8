"""Which agents take part in a debate that is asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from aragora.agents import available, lacking
from aragora.agents.metering import Meter
from aragora.debate.limits import MOST_AGENTS
from aragora.debate.spec import AgentSpec
from aragora.errors import Problem, ValidationFailed
from aragora.service.requests import NewAgent

DEMO = "demo"


def participants(
    wanted: Sequence[str | NewAgent] | None,
    environ: Mapping[str, str],
    meter: Meter,
    allowed: Sequence[tuple[str, ...]],
) -> tuple[AgentSpec, ...]:
    """The agents, named apart; by default the available ones that are allowed, else three demo agents.

    `allowed` are lists of patterns of models, each of which has to allow each model; an empty list allows all. Raises
    `ValidationFailed` for what is unknown, not available, or not allowed.
    """
    infos = {info.name: info for info in available(environ)}
    if wanted is None:
        ready = [
            info.name
            for info in infos.values()
            if info.available
            and info.name != DEMO
            and not_allowed(AgentSpec(info.name, info.name), meter, allowed) is None
        ]
        wanted = ready[:MOST_AGENTS] if len(ready) > 1 else ready * 2 or [DEMO] * 3
    asked = [NewAgent(type=item) if isinstance(item, str) else item for item in wanted]
    problems = [Problem(f"agents.{index}", text) for index, text in _problems(asked, environ, meter, allowed)]
    named = [agent.name for agent in asked if agent.name is not None]
    if len(set(named)) < len(named):
        problems.append(Problem("agents", "each name may appear once"))
    if problems:
        raise ValidationFailed.of(*problems)
    return _distinct(asked)


def _problems(
    asked: Sequence[NewAgent], environ: Mapping[str, str], meter: Meter, allowed: Sequence[tuple[str, ...]]
) -> Iterator[tuple[int, str]]:
    types = [info.name for info in available(environ)]
    for index, agent in enumerate(asked):
        if agent.type not in types:
            yield index, f"no agent {agent.type!r}: take one of {', '.join(types)}"
        elif (missing := lacking(agent.type, agent.model, environ)) is not None:
            yield index, f"agent {agent.type!r} needs {missing}"
        elif (refusal := not_allowed(AgentSpec(agent.type, agent.type, agent.model), meter, allowed)) is not None:
            yield index, refusal


def not_allowed(agent: AgentSpec, meter: Meter, allowed: Iterable[tuple[str, ...]]) -> str | None:
    """Why the agent's model may not be asked. The offline demo always may."""
    if not meter.is_counted(agent):
        return None
    model = meter.model(agent)
    for patterns in allowed:
        names = (agent.type, f"{agent.type}/{model}")
        if patterns and not any(fnmatchcase(name, pattern) for pattern in patterns for name in names):
            return f"the model {names[1]!r} is not allowed: take one of {', '.join(patterns)}"
    return None


def _distinct(asked: Sequence[NewAgent]) -> tuple[AgentSpec, ...]:
    """Name the unnamed: demo-1, demo-2, ... beside any name that was asked for."""
    taken = {agent.name for agent in asked if agent.name is not None}
    named = []
    for agent in asked:
        name, number = agent.name, 0
        while name is None:
            number += 1
            if f"{agent.type}-{number}" not in taken:
                name = f"{agent.type}-{number}"
        taken.add(name)
        named.append(AgentSpec(name, agent.type, agent.model, agent.role, agent.persona, agent.effort))
    return tuple(named)
