"""The use cases: create, read, watch, cancel, export. Every door (HTTP, WebSocket, SSE) leads through here."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from aragora.agents import AgentInfo, available
from aragora.debate import engine
from aragora.debate.downloads import Format, Table
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.limits import (
    DEBATES_PAGE,
    DEBATES_PAGE_DEFAULT,
    EVENTS_PAGE,
    LONGEST_COMMENT,
    LONGEST_KEY,
    LONGEST_SEARCH,
    MESSAGES_PAGE,
    MESSAGES_PAGE_DEFAULT,
    MOST_AGENTS,
    MOST_EVENTS,
    MOST_OFFSET,
)
from aragora.debate.spec import AgentSpec, DebateSpec
from aragora.debate.status import Status
from aragora.errors import DebateEnded, NotFound, Problem, SeqConflict, TooManyRequests, Unavailable, ValidationFailed
from aragora.service import views
from aragora.service.exports import COLUMNS, Export, Sheet, export
from aragora.service.requests import DebateChanges, NewAgent, NewDebate, is_storable
from aragora.storage import ChangeFeed, DebateRecord, Page, Store, Subscription

DEMO = "demo"


class Debates:
    """Every use case of a debate. Raises the errors of `aragora.errors`; NotFound wherever an id is unknown."""

    def __init__(self, store: Store, feed: ChangeFeed, agents_environ: Mapping[str, str]) -> None:
        self.store = store
        self.feed = feed
        self.agents_environ = agents_environ

    def create(self, new: NewDebate, *, idempotency_key: str | None = None, caller: str = "") -> DebateRecord:
        """Store a debate; a runner, here or elsewhere, begins with it at once.

        An idempotency key is its caller's own: another caller's same key is another one. `caller` is empty where
        callers are not told apart. Raises ValidationFailed (unknown agent, missing credentials), Conflict (the key was
        used for another request).
        """
        if idempotency_key is not None and not (
            1 <= len(idempotency_key) <= LONGEST_KEY and is_storable(idempotency_key)
        ):
            raise ValidationFailed.of(Problem("Idempotency-Key", f"1 to {LONGEST_KEY} characters"))
        agents = self._participants(new.agents)
        try:
            spec = DebateSpec(
                question=new.question,
                agents=agents,
                rounds=new.rounds,
                consensus=new.consensus,
                threshold=new.threshold,
                context=new.context,
                early_stop=new.early_stop,
                timeout=new.timeout,
            )
        except ValueError as error:
            field, _, problem = str(error).partition(": ")
            raise ValidationFailed.of(Problem(field, problem)) from None
        body = new.model_dump_json() if idempotency_key is not None else ""
        record = self.store.create(
            spec,
            title=new.title,
            metadata=new.metadata,
            idempotency_key=_own(idempotency_key, caller),
            request_hash=hashlib.sha256(body.encode()).hexdigest() if body else None,
        )
        self.feed.publish_work()
        return record

    def _participants(self, wanted: Sequence[str | NewAgent] | None) -> tuple[AgentSpec, ...]:
        infos = {info.name: info for info in available(self.agents_environ)}
        if wanted is None:
            ready = [info.name for info in infos.values() if info.available and info.name != DEMO]
            wanted = ready[:MOST_AGENTS] if len(ready) > 1 else ready * 2 or [DEMO] * 3
        asked = [NewAgent(type=item) if isinstance(item, str) else item for item in wanted]
        problems = [
            Problem(f"agents.{index}", problem)
            for index, agent in enumerate(asked)
            if (problem := _unusable(agent, infos)) is not None
        ]
        named = [agent.name for agent in asked if agent.name is not None]
        if len(set(named)) < len(named):
            problems.append(Problem("agents", "each name may appear once"))
        if problems:
            raise ValidationFailed.of(*problems)
        return _distinct(asked)

    def get(self, debate_id: str) -> DebateRecord:
        """One debate."""
        return self.store.get(debate_id)

    def view(self, debate_id: str) -> views.Row:
        """The debate as the API shows it, messages included."""
        record = self.store.get(debate_id)
        said = self.store.each(record, [EventType.AGENT_MESSAGE])
        return views.debate(record) | {"messages": list(views.messages(said))}

    def page(
        self,
        limit: int = DEBATES_PAGE_DEFAULT,
        cursor: str | None = None,
        status: Status | None = None,
        q: str | None = None,
    ) -> Page:
        """Debates, newest first; raises ValidationFailed, and BadRequest for a broken cursor."""
        if not 1 <= limit <= DEBATES_PAGE:
            raise ValidationFailed.of(Problem("limit", f"1 to {DEBATES_PAGE}"))
        if q is not None and len(q) > LONGEST_SEARCH:
            raise ValidationFailed.of(Problem("q", f"at most {LONGEST_SEARCH} characters"))
        return self.store.page(limit, cursor, status, q)

    def update(self, debate_id: str, changes: DebateChanges) -> DebateRecord:
        """Change title, metadata or is_public."""
        return self.store.update(debate_id, title=changes.title, metadata=changes.metadata, is_public=changes.is_public)

    def delete(self, debate_id: str) -> None:
        """Remove it with its events; a running one stops at once."""
        self.store.get(debate_id)
        self.store.delete(debate_id)
        self.feed.publish_deleted(debate_id)

    def cancel(self, debate_id: str) -> DebateRecord:
        """End it for good: no agent is called any more. Raises DebateEnded (409) when it already has ended."""
        record = self.store.get(debate_id)
        for _ in range(100):
            if record.ended:
                raise DebateEnded(f"the debate has ended: {record.status}")
            history = self.store.history(debate_id)
            drafts = engine.cancelled(record.spec, history)
            try:
                if drafts:
                    ended = self.store.append(debate_id, len(history), drafts, lease=None, at=time.time())
                    self.feed.publish(debate_id, ended[-1].seq, ended)
                    return self.store.get(debate_id)
            except SeqConflict:
                pass
            record = self.store.get(debate_id)
        raise Unavailable("the debate moves too fast to be cancelled, try again", retry_after=0.1)

    def events(self, debate_id: str, since: int = 0, limit: int = EVENTS_PAGE) -> list[Event]:
        """Events with seq > `since`."""
        if since < 0 or not 1 <= limit <= EVENTS_PAGE:
            raise ValidationFailed.of(Problem("since, limit", f"since ≥ 0, limit 1 to {EVENTS_PAGE}"))
        return self.store.events(debate_id, since, limit)

    def messages(
        self, debate_id: str, limit: int = MESSAGES_PAGE_DEFAULT, offset: int = 0
    ) -> tuple[list[views.Row], int]:
        """One page of what was said, and how much there is in all."""
        if not 1 <= limit <= MESSAGES_PAGE or not 0 <= offset <= MOST_OFFSET:
            raise ValidationFailed.of(
                Problem("limit, offset", f"limit 1 to {MESSAGES_PAGE}, offset 0 to {MOST_OFFSET}")
            )
        said, total = self.store.select(debate_id, [EventType.AGENT_MESSAGE], limit, offset)
        return list(views.messages(said, offset)), total

    def votes(self, debate_id: str) -> Iterator[views.Row]:
        """Every vote, as it is read; the users' have the type `user_vote`."""
        return views.findings(self._each(debate_id, EventType.VOTE, EventType.USER_VOTE), typed=True)

    def critiques(self, debate_id: str) -> Iterator[views.Row]:
        """Every critique, as it is read."""
        return views.findings(self._each(debate_id, EventType.CRITIQUE))

    def convergence(self, debate_id: str) -> Iterator[views.Row]:
        """Similarity of the answers, measure by measure, as it is read."""
        return views.findings(self._each(debate_id, EventType.CONVERGENCE))

    def _each(self, debate_id: str, *types: EventType) -> Iterator[Event]:
        return self.store.each(self.store.get(debate_id), types)

    def export(self, debate_id: str, form: str, table: Table = Table.SUMMARY) -> Export:
        """The download in a format of that name; raises NotFound for a name that is none."""
        try:
            known = Format(form)
        except ValueError:
            raise NotFound(f"no format {form[:20]!r}: take one of {', '.join(Format)}") from None
        record = self.store.get(debate_id)
        rows: Iterable[views.Row] = ()
        if table is Table.MESSAGES:
            rows = views.messages(self._each(debate_id, EventType.AGENT_MESSAGE))
        elif table in COLUMNS:
            rows = self.critiques(debate_id) if table is Table.CRITIQUES else self.votes(debate_id)
        return export(Sheet(views.debate(record), table, rows), known)

    def agents(self) -> list[AgentInfo]:
        """Every kind of agent: whether it can run now, and which variable it misses."""
        return list(available(self.agents_environ))

    def availability(self) -> dict[str, Any]:
        """The names of the agents that can run now, and which variable each of the others misses."""
        infos = self.agents()
        return {
            "available": [info.name for info in infos if info.available],
            "missing": {info.name: info.missing for info in infos if not info.available},
        }

    def user_vote(self, debate_id: str, choice: str, reasoning: str = "", user: str | None = None) -> Event:
        """Record a person's vote for one of the agents; raises DebateEnded."""
        names = [agent.name for agent in self.store.get(debate_id).spec.agents]
        if choice not in names:
            raise ValidationFailed.of(Problem("choice", f"one of {', '.join(names)}"))
        return self._add(debate_id, EventType.USER_VOTE, {"choice": choice, "reasoning": reasoning, "user": user})

    def user_suggestion(self, debate_id: str, text: str, user: str | None = None) -> Event:
        """Record a person's suggestion; raises DebateEnded."""
        if not text.strip():
            raise ValidationFailed.of(Problem("text", "at least 1 character"))
        return self._add(debate_id, EventType.USER_SUGGESTION, {"text": text, "user": user})

    def _add(self, debate_id: str, kind: EventType, data: dict[str, Any]) -> Event:
        for name, value in data.items():
            if isinstance(value, str) and len(value) > LONGEST_COMMENT:
                raise ValidationFailed.of(Problem(name, f"at most {LONGEST_COMMENT} characters"))
        record = self.store.get(debate_id)
        if record.last_seq >= MOST_EVENTS:
            raise TooManyRequests("this debate has taken as many votes and suggestions as it can")
        draft = Draft(kind, record.rounds_used, None, data)
        (added,) = self.store.append(debate_id, None, [draft], lease=None, at=time.time())
        self.feed.publish(debate_id, added.seq, [added])
        return added

    def subscribe(self, debate_id: str, wake: Callable[[], None] | None = None, *, words: bool = False) -> Subscription:
        """Watch it live, and with `words` what agents are saying: a context manager; see `Subscription`."""
        watch = self.feed.subscribe(debate_id, wake, words=words)
        try:
            self.feed.observe(debate_id, self.store.get(debate_id).last_seq)
        except BaseException:
            watch.close()
            raise
        return watch


def _own(key: str | None, caller: str) -> str | None:
    """The key as it is stored: beside those of other callers, and of one length."""
    if key is None or not caller:
        return key
    return hashlib.sha256(f"{caller}\n{key}".encode()).hexdigest()


def _unusable(agent: NewAgent, infos: Mapping[str, AgentInfo]) -> str | None:
    info = infos.get(agent.type)
    if info is None:
        return f"no agent {agent.type!r}: take one of {', '.join(infos)}"
    if not info.available:
        return f"agent {agent.type!r} needs {info.missing}"
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
        named.append(AgentSpec(name, agent.type, agent.model, agent.role))
    return tuple(named)
