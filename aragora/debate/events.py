"""What can happen in a debate. The log of these events is the debate; everything else is read from it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """The kinds of event, named as they travel, and what their `data` holds.

    - `debate_start`: question, agents (name, type, model, role, persona, effort), rounds, consensus, threshold,
      early_stop, timeout, budget (money, tokens, questions), criteria, synthesis
    - `round_start`: round, rounds
    - `agent_message`: role (`proposer` or `reviser`), content, model (when known), cut (why it is not whole, if so),
      omitted (what the agent was not shown for want of room, if anything; so in `critique` and `vote`)
    - `critique`: target, issues, suggestions, severity 0 to 10 or None, reasoning, shown (whose answers the critic
      knew as A, B, C)
    - `vote`: choice (an agent's name), confidence 0 to 1, reasoning, judge (only when true), shown (as above), ranking
      (names, the best first; only where it was asked for)
    - `convergence`: similarity 0 to 1, status, method, threshold
    - `synthesis`: answer, agreements, disputes, minority
    - `consensus`: reached, confidence 0 to 1, answer, method, choice, share, threshold, tied, votes, quorum (needed,
      cast), user_votes, reasons and dissent (agent, choice, confidence, reasoning, judge), support (votes, of); only
      where there is something to say: tie_break, alike (whose answers are the same), synthesis, stopped_early,
      degraded (agent, purpose, kind, message), took_part (agents without any of that, of), cut_short
    - `agent_waiting`: purpose, target, place in the line before its provider (from 1; 0 where the provider is away),
      message
    - `agent_error`: kind, message, purpose, target, attempt, retry, excerpt (how an unusable answer begins)
    - `user_vote`: choice, reasoning, user
    - `user_suggestion`: text, user
    - `debate_end`: status, rounds, duration in seconds, reason (unless completed or cancelled)

    What a language model answered, or failed to, carries `usage` besides: tokens (input, output, cached, written,
    thought; see `aragora.debate.usage`), cost in dollars, estimated (only when true).
    """

    DEBATE_START = "debate_start"
    ROUND_START = "round_start"
    AGENT_MESSAGE = "agent_message"
    CRITIQUE = "critique"
    VOTE = "vote"
    CONVERGENCE = "convergence"
    SYNTHESIS = "synthesis"
    CONSENSUS = "consensus"
    AGENT_WAITING = "agent_waiting"
    AGENT_ERROR = "agent_error"
    USER_VOTE = "user_vote"
    USER_SUGGESTION = "user_suggestion"
    DEBATE_END = "debate_end"


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that is not stored yet; `data` is JSON and is not changed after it was made."""

    type: EventType
    round: int
    agent: str | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event: `seq` counts from 1 without gaps within its debate, `at` is in unix seconds."""

    seq: int
    type: EventType
    at: float
    round: int
    agent: str | None
    data: dict[str, Any]
