"""The use cases: create, read, watch, cancel, export. Every door (HTTP, WebSocket, SSE) leads through here."""

import copy
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aragora.agents import AgentInfo, available
from aragora.agents.metering import Meter
from aragora.agents.prices import Prices
from aragora.debate import engine
from aragora.debate.downloads import ARGUED, Format, Table
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.limits import (
    CONTEXT_IN_LISTS,
    DAYS_DEFAULT,
    DEBATES_PAGE,
    DEBATES_PAGE_DEFAULT,
    EVENTS_PAGE,
    LONGEST_COMMENT,
    LONGEST_KEY,
    LONGEST_SEARCH,
    MESSAGES_PAGE,
    MESSAGES_PAGE_DEFAULT,
    MOST_DAYS,
    MOST_EVENTS,
    MOST_OFFSET,
)
from aragora.debate.spec import DebateSpec
from aragora.debate.status import Status
from aragora.errors import (
    DebateEnded,
    Forbidden,
    NotFound,
    Problem,
    SeqConflict,
    TooManyRequests,
    Unavailable,
    ValidationFailed,
)
from aragora.outbound import Outbound
from aragora.service import views
from aragora.service.drafting import draft, least, own_key
from aragora.service.estimates import Estimate, estimate
from aragora.service.exports import Export, Sheet, export
from aragora.service.notifications import Notifications
from aragora.service.policy import EVERYTHING, Policy
from aragora.service.presets import Presets, applied
from aragora.service.principal import EVERYBODY, STRANGER, Principal
from aragora.service.requests import DebateChanges, NewDebate, NewNotification, Request, is_storable
from aragora.service.sources import Sources
from aragora.storage import ChangeFeed, DebateRecord, Origin, Page, Scope, Store, Subscription
from aragora.storage.ledger import DAY, day_of
from aragora.storage.notifications import Notification
from aragora.storage.rows import no_such


class Debates:
    """Every use case of a debate. Raises the errors of `aragora.errors`; NotFound wherever an id is unknown."""

    def __init__(
        self,
        store: Store,
        feed: ChangeFeed,
        agents_environ: Mapping[str, str],
        *,
        prices: Prices | None = None,
        policy: Policy = EVERYTHING,
        principal: Principal = EVERYBODY,
        sources: Sources | None = None,
        notifications: Notifications | None = None,
    ) -> None:
        """`principal` is on whose behalf everything is done; `prices` are the built-in ones by default."""
        self.store = store
        self.feed = feed
        self.agents_environ = agents_environ
        self.principal = principal
        self.presets = Presets(store)
        self._sources = sources
        self._notifications = notifications or Notifications(store, Outbound(), "")
        self._policy = policy
        self._meter = Meter(prices or Prices.load(), agents_environ)

    def on_behalf_of(self, principal: Principal) -> "Debates":
        """The same debates as `principal` sees them."""
        bound = copy.copy(self)
        bound.principal = principal
        return bound

    def create(self, new: NewDebate, *, idempotency_key: str | None = None) -> DebateRecord:
        """Store a debate; a runner, here or elsewhere, begins with it at once.

        An idempotency key is its caller's own: another caller's same key is another one. Raises ValidationFailed
        (unknown agent, missing credentials, model or size not allowed), Conflict (the key was used for another
        request), TooManyRequests (the caller has begun, or spent, as much as it may), Forbidden.
        """
        whole = self.completed(new)
        return self.begin(self.draft(whole), whole, new, idempotency_key=idempotency_key)

    def begin(
        self,
        spec: DebateSpec,
        new: NewDebate,
        asked: Request,
        *,
        idempotency_key: str | None = None,
        origin: Origin | None = None,
    ) -> DebateRecord:
        """Store a debate by these rules, which come of `new`; raises what `create` does.

        `origin` is the debate that this one comes of, and `asked` what was really asked for, by which a second request
        with the same idempotency key is known.
        """
        self.principal.demand(Scope.CREATE)
        if idempotency_key is not None and not (
            1 <= len(idempotency_key) <= LONGEST_KEY and is_storable(idempotency_key)
        ):
            raise ValidationFailed.of(Problem("Idempotency-Key", f"1 to {LONGEST_KEY} characters"))
        recipients = self._notifications.recipients(new.notify or [])
        fingerprint = asked.model_dump_json(exclude_defaults=True)
        if origin is not None:
            fingerprint += f" {origin.relation} {origin.parent_id}"
        record = self.store.create(
            spec,
            title=new.title,
            metadata=new.metadata,
            idempotency_key=own_key(idempotency_key, self.principal),
            request_hash=hashlib.sha256(fingerprint.encode()).hexdigest() if idempotency_key is not None else None,
            owner=self.principal.name,
            limits=self.principal.limits,
            least=least(spec, self._meter),
            origin=origin,
            recipients=recipients,
        )
        self.feed.publish_work()
        return record

    def estimate(self, new: NewDebate) -> Estimate:
        """What the debate would take; nothing is stored and no agent is asked. Raises ValidationFailed."""
        return estimate(self.draft(self.completed(new)), self._meter)

    def completed(self, new: NewDebate) -> NewDebate:
        """The request with what it leaves out taken from its preset, and the text of its sources in its context.

        Raises ValidationFailed.
        """
        if new.preset is not None:
            new = applied(new, self.presets.council(self.principal, new.preset))
        if new.sources:
            if self._sources is None:
                raise ValidationFailed.of(Problem("sources", "no documents are read here"))
            context = self._sources.context(self.principal, new.context, new.sources)
            new = new.model_copy(update={"context": context, "sources": None})
        return new

    def draft(self, new: NewDebate) -> DebateSpec:
        """The rules of the debate that is asked for; raises ValidationFailed."""
        return draft(new, self.agents_environ, self._meter, self._policy, self.principal)

    def get(self, debate_id: str) -> DebateRecord:
        """One debate; for callers that may not see it there is none."""
        self.principal.demand(Scope.READ)
        record = self.store.get(debate_id)
        if not self.principal.sees(record):
            raise no_such(debate_id)
        return record

    def _own(self, debate_id: str) -> DebateRecord:
        """One debate that the caller may change; raises Forbidden where it may only read."""
        record = self.get(debate_id)
        self.principal.demand(Scope.CREATE)
        if not self.principal.owns(record):
            raise Forbidden("the debate belongs to another token: it may only be read")
        return record

    def view(self, debate_id: str) -> views.Row:
        """The debate as the API shows it, messages included."""
        record = self.get(debate_id)
        said = self.store.each(record, [EventType.AGENT_MESSAGE])
        return self.summary(record) | {"verdict": self._verdict(record), "messages": list(views.messages(said))}

    def _verdict(self, record: DebateRecord) -> views.Row | None:
        """What the debate came to, as the caller may see it."""
        return views.verdict(self._consensus(record), owned=self.principal.owns(record))

    def _consensus(self, record: DebateRecord) -> Event | None:
        """The event that says it: the last but one of a debate that has ended by itself."""
        found, _ = self.store.select(record.id, [EventType.CONSENSUS], 1) if record.ended else ([], 0)
        return found[0] if found else None

    def listed(self, record: DebateRecord) -> views.Row:
        """The debate as lists show it: with the beginning of its context, which may be long."""
        found = self.summary(record)
        return found | {"context": found["context"][:CONTEXT_IN_LISTS]}

    def summary(self, record: DebateRecord) -> views.Row:
        """The debate as the caller may see it, without what was said."""
        return views.debate(record, owned=self.principal.owns(record))

    def page(
        self,
        limit: int = DEBATES_PAGE_DEFAULT,
        cursor: str | None = None,
        status: Status | None = None,
        q: str | None = None,
        parent: str | None = None,
    ) -> Page:
        """Debates, newest first; raises ValidationFailed, and BadRequest for a broken cursor."""
        if not 1 <= limit <= DEBATES_PAGE:
            raise ValidationFailed.of(Problem("limit", f"1 to {DEBATES_PAGE}"))
        if q is not None and len(q) > LONGEST_SEARCH:
            raise ValidationFailed.of(Problem("q", f"at most {LONGEST_SEARCH} characters"))
        self.principal.demand(Scope.READ)
        return self.store.page(limit, cursor, status, q, self.principal.reads, parent)

    def update(self, debate_id: str, changes: DebateChanges) -> DebateRecord:
        """Change title, metadata or is_public."""
        self._own(debate_id)
        return self.store.update(debate_id, title=changes.title, metadata=changes.metadata, is_public=changes.is_public)

    def delete(self, debate_id: str) -> None:
        """Remove it with its events; a running one stops at once."""
        self._own(debate_id)
        self.store.delete(debate_id)
        self.feed.publish_deleted(debate_id)

    def cancel(self, debate_id: str) -> DebateRecord:
        """End it for good: no agent is called any more. Raises DebateEnded (409) when it already has ended."""
        record = self._own(debate_id)
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
        """Events with seq > `since`. Strangers do not see what providers said, which may name the account."""
        if since < 0 or not 1 <= limit <= EVENTS_PAGE:
            raise ValidationFailed.of(Problem("since, limit", f"since ≥ 0, limit 1 to {EVENTS_PAGE}"))
        self._demand_sight(debate_id)
        found = self.store.events(debate_id, since, limit)
        return [views.without_words(event) for event in found] if self.principal is STRANGER else found

    def messages(
        self, debate_id: str, limit: int = MESSAGES_PAGE_DEFAULT, offset: int = 0
    ) -> tuple[list[views.Row], int]:
        """One page of what was said, and how much there is in all."""
        if not 1 <= limit <= MESSAGES_PAGE or not 0 <= offset <= MOST_OFFSET:
            raise ValidationFailed.of(
                Problem("limit, offset", f"limit 1 to {MESSAGES_PAGE}, offset 0 to {MOST_OFFSET}")
            )
        self._demand_sight(debate_id)
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

    def usage(self, debate_id: str) -> Iterator[views.Row]:
        """What the answers of each agent took, as it is read."""
        return views.usage(self._each(debate_id, *EventType))

    def spending(self, days: int = DAYS_DEFAULT) -> list[views.Row]:
        """What the caller's debates spent on each of the last days; administrators see all debates'."""
        self.principal.demand(Scope.READ)
        if not 1 <= days <= MOST_DAYS:
            raise ValidationFailed.of(Problem("days", f"1 to {MOST_DAYS}"))
        since = day_of(time.time() - (days - 1) * DAY)
        return [views.day(spent) for spent in self.store.ledger.days(self.principal.reads, since)]

    def share(self, debate_id: str) -> DebateRecord:
        """Give the debate an address that needs no token; a second call changes nothing."""
        self._own(debate_id)
        self.store.shares.add(debate_id)
        return self.store.get(debate_id)

    def notify(self, debate_id: str, asked: NewNotification) -> Notification:
        """Tell one more when the debate ends; raises ValidationFailed, DebateEnded and TooManyRequests."""
        return self._notifications.add(self._own(debate_id), asked)

    def notified(self, debate_id: str) -> list[Notification]:
        """The recipients, and the state of each delivery."""
        return self._notifications.of(self._own(debate_id))

    def unshare(self, debate_id: str) -> None:
        """Withdraw that address for good."""
        self._own(debate_id)
        self.store.shares.remove(debate_id)

    def shared(self, key: str) -> views.Row:
        """The debate that is shared under this key; raises NotFound."""
        record = self.store.shares.find(key)
        found = views.shared(record, self._consensus(record))
        found["messages"] = list(views.messages(self.store.each(record, [EventType.AGENT_MESSAGE])))
        found["critiques"] = list(views.findings(self.store.each(record, [EventType.CRITIQUE])))
        votes = self.store.each(record, [EventType.VOTE, EventType.USER_VOTE])
        return found | {"votes": list(views.findings(votes, typed=True))}

    def shared_page(self, key: str) -> Export:
        """The same as an HTML page; raises NotFound."""
        record = self.store.shares.find(key)
        said = views.argument(self.store.each(record, ARGUED), owned=False)
        return export(Sheet(views.shared(record, self._consensus(record)), Table.ARGUMENT, said), Format.HTML)

    def _demand_sight(self, debate_id: str) -> None:
        """Raise NotFound unless the caller may read the debate, if there is one. A caller that sees all passes."""
        self.principal.demand(Scope.READ)
        if self.principal.reads is not None:
            self.get(debate_id)

    def _each(self, debate_id: str, *types: EventType) -> Iterator[Event]:
        return self.store.each(self.get(debate_id), types)

    def export(self, debate_id: str, form: str, table: Table = Table.ARGUMENT) -> Export:
        """The download in a format of that name; raises NotFound for a name that is none."""
        try:
            known = Format(form)
        except ValueError:
            raise NotFound(f"no format {form[:20]!r}: take one of {', '.join(Format)}") from None
        record = self.get(debate_id)
        rows: Iterable[views.Row] = ()
        match table:
            case Table.ARGUMENT:
                rows = views.argument(self._each(debate_id, *ARGUED), owned=self.principal is not STRANGER)
            case Table.MESSAGES:
                rows = views.messages(self._each(debate_id, EventType.AGENT_MESSAGE))
            case Table.CRITIQUES:
                rows = self.critiques(debate_id)
            case Table.VOTES:
                rows = self.votes(debate_id)
            case Table.USAGE:
                rows = self.usage(debate_id)
        return export(Sheet(self.summary(record) | {"verdict": self._verdict(record)}, table, rows), known)

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
        names = [agent.name for agent in self.get(debate_id).spec.agents]
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
        record = self._own(debate_id)
        if record.last_seq >= MOST_EVENTS:
            raise TooManyRequests("this debate has taken as many votes and suggestions as it can")
        draft = Draft(kind, record.rounds_used, None, data)
        (added,) = self.store.append(debate_id, None, [draft], lease=None, at=time.time())
        self.feed.publish(debate_id, added.seq, [added])
        return added

    def subscribe(self, debate_id: str, wake: Callable[[], None] | None = None, *, words: bool = False) -> Subscription:
        """Watch it live, and with `words` what agents are saying: a context manager; see `Subscription`."""
        self._demand_sight(debate_id)
        watch = self.feed.subscribe(debate_id, wake, words=words)
        try:
            self.feed.observe(debate_id, self.store.get(debate_id).last_seq)
        except BaseException:
            watch.close()
            raise
        return watch
