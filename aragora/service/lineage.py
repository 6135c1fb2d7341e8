"""Debates that come of others: a further question, the same with changes, and what failed asked again."""

from dataclasses import asdict, replace
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from aragora.debate import engine
from aragora.debate.background import background
from aragora.debate.limits import LONGEST_CONTEXT, LONGEST_TIMEOUT, SHORTEST_TIMEOUT
from aragora.debate.retake import retaken
from aragora.errors import Conflict
from aragora.service.debates import Debates
from aragora.service.requests import NewAgent, NewBudget, NewDebate, QuestionText, Request
from aragora.storage import DebateRecord, Origin, Relation

CUT = "\n[the rest was left out for want of room]"


class FollowUp(NewDebate):
    """The body of `POST /api/debates/{id}/follow-up`: a further question. What is left out is as in the old debate."""


class Fork(NewDebate):
    """The body of `POST /api/debates/{id}/fork`: what is to be otherwise. What is left out is as in the old debate."""

    question: QuestionText | None = Field(  # type: ignore[assignment]  # there is one already
        default=None, validation_alias=AliasChoices("question", "task"), description="default: the old one"
    )


class AskAgain(Request):
    """The body of `POST /api/debates/{id}/ask-again`."""

    timeout: Annotated[float, Field(ge=SHORTEST_TIMEOUT, le=LONGEST_TIMEOUT)] | None = Field(
        default=None, description="seconds, from now on; default: as before"
    )
    budget: NewBudget | None = Field(default=None, description="of what is asked again; default: the settings'")


def follow_up(debates: Debates, parent_id: str, asked: FollowUp, key: str | None = None) -> DebateRecord:
    """Begin a debate about a further question, which knows what the old one came to; raises what `create` does."""
    return _descendant(debates, parent_id, asked, Relation.FOLLOW_UP, key)


def fork(debates: Debates, parent_id: str, changes: Fork, key: str | None = None) -> DebateRecord:
    """Begin the same debate with changes; it knows what the old one came to. Raises what `create` does."""
    return _descendant(debates, parent_id, changes, Relation.FORK, key)


def ask_again(debates: Debates, parent_id: str, asked: AskAgain, key: str | None = None) -> DebateRecord:
    """Begin a debate that goes on where the old one first failed, with what was said until then.

    Raises what `create` does, and `Conflict` for a debate that has not ended or in which nothing failed.
    """
    parent = debates.get(parent_id)
    if not parent.ended:
        raise Conflict("the debate has not ended: it asks again by itself")
    kept = retaken(parent.spec, debates.store.history(parent_id))
    if kept is None:
        raise Conflict("nothing failed in this debate")
    new = _as_asked(parent, asked.model_dump(exclude_unset=True, exclude_none=True))
    # The agents keep the secret that their letters were shuffled by: what is kept speaks of those letters.
    spec = replace(debates.draft(new), secret=parent.spec.secret)
    start = engine.plan(spec, (), 0.0).drafts[:1]
    origin = Origin(parent_id, Relation.ASK_AGAIN, (*start, *kept))
    return debates.begin(spec, new, asked, idempotency_key=key, origin=origin)


def _descendant(
    debates: Debates, parent_id: str, asked: NewDebate, relation: Relation, key: str | None
) -> DebateRecord:
    parent = debates.get(parent_id)
    given = {name: getattr(asked, name) for name in asked.model_fields_set if name != "preset"}
    if asked.preset is not None:
        given = debates.presets.council(debates.principal, asked.preset) | given
    told = background(parent.spec, debates.store.history(parent_id))
    given["context"] = _joined(told, given.get("context", parent.spec.context))
    new = debates.completed(_as_asked(parent, given))
    return debates.begin(debates.draft(new), new, asked, idempotency_key=key, origin=Origin(parent_id, relation))


def _as_asked(parent: DebateRecord, given: dict[str, Any]) -> NewDebate:
    """A request for what `parent` is, but for what is given."""
    spec = parent.spec
    values: dict[str, Any] = {
        "question": spec.question,
        "agents": [NewAgent(**asdict(agent)) for agent in spec.agents],
        "rounds": spec.rounds,
        "consensus": spec.consensus,
        "threshold": spec.threshold,
        "context": spec.context,
        "criteria": spec.criteria,
        "early_stop": spec.early_stop,
        "timeout": spec.timeout,
    }
    if "agents" not in given:
        values["synthesis"] = spec.synthesis
    return NewDebate.parse(values | given)


def _joined(told: str, context: str) -> str:
    """Both, as far as there is room: what the old debate came to first."""
    whole = f"{told}\n\n{context}" if context else told
    return whole if len(whole) <= LONGEST_CONTEXT else whole[: LONGEST_CONTEXT - len(CUT)] + CUT
