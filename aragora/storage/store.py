"""Debates and their event logs in SQLite or PostgreSQL; one code for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aragora.debate.events import Draft, Event
from aragora.debate.spec import DebateSpec
from aragora.settings import Settings
from aragora.storage.records import DebateRecord, Lease, Page


class Store:
    """Opened after fork, one per process; every method is one short transaction."""

    @classmethod
    def open(cls, settings: Settings) -> Store:
        """Connect and bring the tables up to date when the settings allow it."""
        raise NotImplementedError

    def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError

    def ping(self) -> None:
        """Ask the database one trivial question; raises :class:`Unavailable`."""
        raise NotImplementedError

    def migrations_current(self) -> bool:
        """Whether the tables have exactly the shape this code was written for."""
        raise NotImplementedError

    def create(
        self,
        spec: DebateSpec,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        request_hash: str | None = None,
    ) -> DebateRecord:
        """A new debate; or the one that was made with the same idempotency key and request.

        Raises :class:`Conflict` when the key was used for another request.
        """
        raise NotImplementedError

    def get(self, debate_id: str) -> DebateRecord:
        """One debate; raises :class:`NotFound`."""
        raise NotImplementedError

    def page(
        self, limit: int = 20, cursor: str | None = None, status: str | None = None, q: str | None = None
    ) -> Page:
        """Debates, newest first; raises :class:`BadRequest` for a broken cursor."""
        raise NotImplementedError

    def events(self, debate_id: str, since: int = 0, limit: int = 500) -> list[Event]:
        """Stored events with ``seq`` > ``since``, in order; raises :class:`NotFound`."""
        raise NotImplementedError

    def append(
        self, debate_id: str, expected_seq: int, drafts: Sequence[Draft], *, lease: Lease | None, at: float
    ) -> list[Event]:
        """Store drafts behind event ``expected_seq``; raises SeqConflict, LeaseLost, DebateEnded, NotFound."""
        raise NotImplementedError
