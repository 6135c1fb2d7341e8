"""What of a debate stands when its failed parts are asked again: the log up to the first of them, without the failures.

What was said after a question that failed may rest on its absence, so it is said anew: everything of later phases and
rounds. Answers of the same phase stand, and so do people's votes and suggestions.
"""

from collections.abc import Sequence

from aragora.debate.events import Draft, Event, EventType
from aragora.debate.questions import Purpose
from aragora.debate.spec import DebateSpec
from aragora.debate.state import Role, fold
from aragora.debate.status import Status

_ORDER = list(Purpose)
_DROPPED = frozenset(
    {
        EventType.DEBATE_START,
        EventType.AGENT_WAITING,
        EventType.AGENT_ERROR,
        EventType.CONSENSUS,
        EventType.DEBATE_END,
    }
)
_PEOPLE = frozenset({EventType.USER_VOTE, EventType.USER_SUGGESTION})
Place = tuple[int, float]  # a round, and a phase of it


def retaken(spec: DebateSpec, history: Sequence[Event]) -> tuple[Draft, ...] | None:
    """The drafts that another debate by the same rules goes on from, but for its start; None if nothing failed.

    `history` is the log of a debate that has ended. What answers took is left out: it was spent once.
    """
    state = fold(spec, history)
    failed = [
        (question.round, float(_ORDER.index(question.purpose)))
        for question, failure in state.failures.items()
        if failure.given_up and question not in state.answered
    ]
    if not failed and state.status is Status.COMPLETED:
        return None
    cut: Place = min(failed, default=(state.round, float(len(_ORDER))))
    return tuple(
        Draft(event.type, event.round, event.agent, {key: item for key, item in event.data.items() if key != "usage"})
        for event in history
        if event.type not in _DROPPED and (event.type in _PEOPLE or _place(event) <= cut)
    )


def _place(event: Event) -> Place:
    """Where in the course of a debate an event stands."""
    match event.type:
        case EventType.AGENT_MESSAGE:
            purpose = Purpose.PROPOSE if event.data["role"] == Role.PROPOSER else Purpose.REVISE
        case EventType.CRITIQUE:
            purpose = Purpose.CRITIQUE
        case EventType.CONVERGENCE:
            return event.round, _ORDER.index(Purpose.REVISE) + 0.5
        case EventType.VOTE:
            purpose = Purpose.JUDGE if event.data.get("judge") else Purpose.VOTE
        case EventType.SYNTHESIS:
            purpose = Purpose.SYNTHESIZE
        case _:
            return event.round, -1.0
    return event.round, float(_ORDER.index(purpose))
