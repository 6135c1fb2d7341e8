"""Who is told when a debate changes: watchers in this process, at once, wherever the change was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from aragora.debate.events import Event
from aragora.settings import Settings
from aragora.storage.store import Store


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How changes travel now. ``mode``: local, sqlite, postgresql or redis; degraded: falls back to polling."""

    mode: str
    degraded: bool
    detail: str


class Subscription:
    """One watcher of one debate; a context manager.

    ``events(since)`` reads through a memory shared by all watchers of the debate: one store read per change.
    """

    debate_id: str
    last_seq: int  # newest seq known to exist
    deleted: bool  # the debate is gone

    def wait(self, timeout: float) -> bool:
        """Block until something new may be there, or ``timeout`` seconds; whether something is."""
        raise NotImplementedError

    def events(self, since: int, limit: int = 500) -> list[Event]:
        """Events with seq > ``since``; raises :class:`NotFound` when the debate was deleted."""
        raise NotImplementedError

    def take_live(self) -> list[dict[str, Any]]:
        """Live payloads (token deltas) since the last call; the oldest are dropped when nobody takes them."""
        raise NotImplementedError

    def close(self) -> None:
        """Watch no longer."""
        raise NotImplementedError

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ChangeFeed:
    """Made once per process, after fork; ``start`` before use."""

    def __init__(self, store: Store, settings: Settings) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Begin to listen; starts the one background thread (greenlet) of the feed."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop it and wake every watcher."""
        raise NotImplementedError

    def status(self) -> FeedStatus:
        """For /ready."""
        raise NotImplementedError

    def publish(self, debate_id: str, seq: int) -> None:
        """Tell everybody that ``debate_id`` now ends at ``seq``."""
        raise NotImplementedError

    def publish_live(self, debate_id: str, payload: dict[str, Any]) -> None:
        """Pass on something that is not stored."""
        raise NotImplementedError

    def subscribe(self, debate_id: str, wake: Callable[[], None] | None = None) -> Subscription:
        """Watch a debate. ``wake`` is called (from any thread, must not block) at each change, beside ``wait``."""
        raise NotImplementedError
