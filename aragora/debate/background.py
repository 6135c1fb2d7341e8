"""What a debate came to, told to another one as its context."""

from collections.abc import Iterator, Sequence

from aragora.debate.events import Event
from aragora.debate.passages import clean
from aragora.debate.spec import DebateSpec
from aragora.debate.state import DebateState, fold

LONGEST = 12_000  # characters of all
LONGEST_ANSWER = 6000
LONGEST_OTHER = 1500  # of an answer that was not taken
MOST_ISSUES = 12  # of the last round's critiques


def background(spec: DebateSpec, history: Sequence[Event]) -> str:
    """Question, outcome, what was held against it, and the other answers; of a debate that runs, as far as it is."""
    state = fold(spec, history)
    return clean("\n".join(_lines(state)), LONGEST)


def _lines(state: DebateState) -> Iterator[str]:
    yield f"An earlier debate was about this question: {state.spec.question}"
    outcome = state.consensus
    taken = outcome.answer if outcome is not None else None
    if outcome is None or taken is None:
        yield "It came to no result."
    else:
        how = "agreed on" if outcome.reached else "came nearest to, without agreeing on,"
        yield f"\nIts agents {how} this answer, with {outcome.confidence:.0%} confidence:\n"
        yield clean(taken, LONGEST_ANSWER)
    issues = [issue for critique in state.critiques if critique.round == state.round for issue in critique.issues]
    if issues:
        yield "\nWhat was held against answers in its last round:"
        yield from (f"- {issue}" for issue in issues[:MOST_ISSUES])
    others = {name: answer for name, answer in state.answers.items() if answer != taken}
    if others:
        yield "\nOther answers:"
        yield from (f"- {clean(answer, LONGEST_OTHER)}" for answer in others.values())
