"""What is debated, by which agents and under which rules; fixed when the debate is created."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from aragora.debate.limits import FEWEST_AGENTS, LONGEST_NAME, ROUNDS_DEFAULT, TIMEOUT_DEFAULT


class ConsensusMode(StrEnum):
    """How a debate is decided: by the agents' votes or rankings, by one judge, or not at all."""

    MAJORITY = "majority"
    SUPERMAJORITY = "supermajority"
    UNANIMOUS = "unanimous"
    WEIGHTED = "weighted"
    BORDA = "borda"
    JUDGE = "judge"
    NONE = "none"


MODES = tuple(ConsensusMode)


class Effort(StrEnum):
    """How much a model is to think before it answers, where it can be told."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One participant. `name` is unique in its debate ("demo-1"); `role` is the standpoint it argues from, and
    `persona` describes the agent's character at greater length.

    Raises ValueError for a name that cannot stand on a line of its own.
    """

    name: str
    type: str
    model: str | None = None
    role: str | None = None
    persona: str | None = None
    effort: Effort | None = None

    @property
    def standpoint(self) -> str:
        """Role and persona; empty where there is neither."""
        return "\n".join(part for part in (self.role, self.persona) if part)

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= LONGEST_NAME or not self.name.isprintable() or self.name != self.name.strip():
            raise ValueError(f"agents: 1 to {LONGEST_NAME} printable characters, not {self.name[:80]!r}")


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a debate may take; None is no bound. `money` is in dollars, `tokens` are read and written ones."""

    money: float | None = None
    tokens: int | None = None
    questions: int | None = None


NO_BUDGET = Budget()


@dataclass(frozen=True, slots=True)
class DebateSpec:
    """Raises ValueError, naming the field, when the rules contradict themselves.

    `threshold` is the share of the votes that decides (None: the mode's own); `timeout` is in seconds. What passes the
    `budget` is not asked. `criteria` are what the asker wants answers judged by. `synthesis` asks a chairman for one at
    the end. `secret` is random and the debate's own: marks and orders that cannot be predicted are made of it; it is
    empty in debates of older versions.
    """

    question: str
    agents: tuple[AgentSpec, ...]
    rounds: int = ROUNDS_DEFAULT
    consensus: ConsensusMode = ConsensusMode.MAJORITY
    threshold: float | None = None
    context: str = ""
    early_stop: bool = True
    timeout: float = TIMEOUT_DEFAULT
    budget: Budget = NO_BUDGET
    criteria: str = ""
    synthesis: bool = False
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        names = {agent.name for agent in self.agents}
        if len(self.agents) < FEWEST_AGENTS:
            raise ValueError(f"agents: at least {FEWEST_AGENTS}, not {len(self.agents)}")
        if len(names) < len(self.agents):
            raise ValueError("agents: each name may appear once")
        if self.rounds < 1:
            raise ValueError(f"rounds: at least 1, not {self.rounds}")
        if self.consensus not in MODES:
            raise ValueError(f"consensus: one of {', '.join(MODES)}, not {self.consensus!r}")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(f"threshold: more than 0 and at most 1, not {self.threshold:g}")
        if not self.timeout > 0:
            raise ValueError(f"timeout: more than 0 seconds, not {self.timeout:g}")

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` reads it back."""
        return asdict(self) | {"agents": [asdict(agent) for agent in self.agents], "consensus": str(self.consensus)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "DebateSpec":
        """What `to_json` wrote; raises ValueError or TypeError for anything else."""
        agents = tuple(_agent(agent) for agent in stored["agents"])
        budget = Budget(**stored.get("budget", {}))
        consensus = ConsensusMode(stored["consensus"])
        return cls(**{**stored, "agents": agents, "consensus": consensus, "budget": budget})


def _agent(stored: Mapping[str, Any]) -> AgentSpec:
    effort = stored.get("effort")
    return AgentSpec(**{**stored, "effort": None if effort is None else Effort(effort)})
