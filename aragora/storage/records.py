"""The values that the store hands out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aragora.debate.spec import DebateSpec
from aragora.debate.status import Status


@dataclass(frozen=True, slots=True)
class DebateRecord:
    """One debate without its events. Times are unix seconds; `last_seq` is 0 before the first event."""

    id: str
    slug: str
    title: str
    spec: DebateSpec
    metadata: Mapping[str, Any]
    is_public: bool
    status: Status
    rounds_used: int
    consensus_reached: bool
    confidence: float
    final_answer: str | None
    created_at: float
    updated_at: float
    ended_at: float | None
    last_seq: int

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.status.final


@dataclass(frozen=True, slots=True)
class Page:
    """Some debates, newest first, and the cursor of the next page (None on the last one)."""

    debates: tuple[DebateRecord, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to advance one debate. `token` is the fencing number: each claim gets a higher one."""

    debate_id: str
    owner: str
    token: int
