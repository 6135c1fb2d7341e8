"""What can happen in a debate. The log of these events is the debate; everything else is read from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """The kinds of event, named as they travel."""

    DEBATE_START = "debate_start"
    ROUND_START = "round_start"
    AGENT_MESSAGE = "agent_message"
    CRITIQUE = "critique"
    VOTE = "vote"
    CONVERGENCE = "convergence"
    CONSENSUS = "consensus"
    AGENT_ERROR = "agent_error"
    USER_VOTE = "user_vote"
    USER_SUGGESTION = "user_suggestion"
    DEBATE_END = "debate_end"


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that is not stored yet; ``data`` is JSON and is not changed after it was made."""

    type: EventType
    round: int
    agent: str | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event: ``seq`` counts from 1 without gaps within its debate, ``at`` is in unix seconds."""

    seq: int
    type: EventType
    at: float
    round: int
    agent: str | None
    data: dict[str, Any]
