"""Whole debates between demo agents, in memory and without a clock."""

from collections.abc import Iterator

from aragora.agents import build
from aragora.debate import engine
from aragora.debate.events import Event, EventType
from aragora.debate.questions import Kind, Passage, Purpose, Question
from aragora.debate.spec import AgentSpec, DebateSpec

QUESTION = "Should we adopt event sourcing?"
OFFLINE = {"ARAGORA_DEMO_DELAY": "0"}
FOREVER = 1e12


def agents(number: int = 3) -> tuple[AgentSpec, ...]:
    return tuple(AgentSpec(f"demo-{count}", "demo") for count in range(1, number + 1))


def debate(question: str = QUESTION, participants: tuple[AgentSpec, ...] = (), **rules: object) -> list[Event]:
    """The log of a whole debate."""
    history: list[Event] = []
    for _ in course(DebateSpec(question, participants or agents(), **rules), history):
        pass
    return history


def course(spec: DebateSpec, history: list[Event]) -> Iterator[Question]:
    """Every question of a debate before it is answered; the history grows meanwhile."""

    def append(drafts: tuple) -> None:
        for draft in drafts:
            seq = len(history) + 1
            history.append(Event(seq, draft.type, float(seq), draft.round, draft.agent, draft.data))

    while True:
        plan = engine.plan(spec, history, float(len(history)))
        append(plan.drafts)
        if plan.finished:
            return
        for question in plan.questions:
            yield question
            reply = build(question.agent, OFFLINE).ask(question, lambda text: None, FOREVER)
            append(engine.record(question, reply))


def of(history: list[Event], kind: EventType, number: int | None = None) -> list[Event]:
    """The events of one type, of one round if asked."""
    return [event for event in history if event.type is kind and number in (None, event.round)]


def proposal(agent: AgentSpec, question: str = QUESTION, *passages: Passage) -> Question:
    """The first question that an agent gets."""
    return Question(
        agent,
        Purpose.PROPOSE,
        1,
        1,
        "system",
        "prompt",
        passages=(Passage(Kind.QUESTION, question), *passages),
    )
