"""The use cases: create, read, watch, cancel, export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aragora.debate.events import Event
from aragora.service.requests import DebateChanges, NewDebate
from aragora.storage import ChangeFeed, DebateRecord, Page, Store, Subscription


@dataclass(frozen=True, slots=True)
class Export:
    """A finished download: ``body`` is UTF-8."""

    filename: str
    content_type: str
    body: bytes


class Debates:
    """Every use case of a debate. ``on_created`` wakes this process' runner."""

    def __init__(self, store: Store, feed: ChangeFeed, agents_environ: Mapping[str, str]) -> None:
        self.store = store
        self.feed = feed
        self.agents_environ = agents_environ

    def create(self, new: NewDebate, *, idempotency_key: str | None = None) -> DebateRecord:
        """Raises ValidationFailed (unknown agent, missing credentials), Conflict (key used for another request)."""
        raise NotImplementedError

    def get(self, debate_id: str) -> DebateRecord:
        """Raises NotFound; an id of a wrong form is not found either."""
        raise NotImplementedError

    def view(self, debate_id: str) -> dict[str, Any]:
        """The debate as the API shows it, messages included."""
        raise NotImplementedError

    def page(
        self, limit: int = 20, cursor: str | None = None, status: str | None = None, q: str | None = None
    ) -> Page:
        """Newest first; raises ValidationFailed or BadRequest."""
        raise NotImplementedError

    def update(self, debate_id: str, changes: DebateChanges) -> DebateRecord:
        """Title, metadata and is_public."""
        raise NotImplementedError

    def delete(self, debate_id: str) -> None:
        """Remove it with its events; a running one stops."""
        raise NotImplementedError

    def cancel(self, debate_id: str) -> DebateRecord:
        """End it for good; raises DebateEnded (409) when it already has."""
        raise NotImplementedError

    def events(self, debate_id: str, since: int = 0, limit: int = 500, wait: float = 0.0) -> list[Event]:
        """Events with seq > since; blocks up to ``wait`` seconds for the first."""
        raise NotImplementedError

    def messages(self, debate_id: str, limit: int = 50, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """One page of what was said, and how much there is in all."""
        raise NotImplementedError

    def votes(self, debate_id: str) -> list[dict[str, Any]]:
        """Every vote, the users' included."""
        raise NotImplementedError

    def critiques(self, debate_id: str) -> list[dict[str, Any]]:
        """Every critique."""
        raise NotImplementedError

    def convergence(self, debate_id: str) -> list[dict[str, Any]]:
        """Similarity of the answers round by round."""
        raise NotImplementedError

    def export(self, debate_id: str, form: str, table: str = "summary") -> Export:
        """``form``: json, csv, html, txt or md; ``table``: summary, messages, critiques or votes."""
        raise NotImplementedError

    def agents(self) -> list[dict[str, Any]]:
        """Every kind of agent."""
        raise NotImplementedError

    def availability(self) -> dict[str, Any]:
        """Which kinds can run now, and which variable the others miss."""
        raise NotImplementedError

    def user_vote(self, debate_id: str, choice: str, reasoning: str = "", user: str | None = None) -> Event:
        """Record a person's vote; raises DebateEnded."""
        raise NotImplementedError

    def user_suggestion(self, debate_id: str, text: str, user: str | None = None) -> Event:
        """Record a person's suggestion; raises DebateEnded."""
        raise NotImplementedError

    def subscribe(self, debate_id: str, wake: Callable[[], None] | None = None) -> Subscription:
        """Watch it live; raises NotFound."""
        raise NotImplementedError

    def wait_ended(self, debate_id: str, timeout: float) -> DebateRecord:
        """The debate once it ended, or as it is after ``timeout`` seconds."""
        raise NotImplementedError
