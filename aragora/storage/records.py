"""The values that the store hands out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from aragora.debate.events import Draft
from aragora.debate.spec import DebateSpec
from aragora.debate.status import Status
from aragora.debate.usage import Usage


class Relation(StrEnum):
    """How a debate came of another one."""

    FOLLOW_UP = "follow_up"
    FORK = "fork"
    ASK_AGAIN = "ask_again"


class Scope(StrEnum):
    """What a caller may do; each includes those before it. ADMIN alone sees what belongs to others."""

    READ = "read"
    CREATE = "create"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Limits:
    """At most so much; None is no bound. `cost` is in microdollars; `debates` are those that have not ended."""

    questions: int | None = None
    tokens: int | None = None
    cost: int | None = None
    debates: int | None = None

    @property
    def unbounded(self) -> bool:
        """Whether nothing is bounded."""
        return self == UNBOUNDED

    def to_json(self) -> dict[str, int | None]:
        """As a JSON object; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Limits":
        """What `to_json` wrote."""
        return cls(**{name: stored.get(name) for name in cls.__slots__})


UNBOUNDED = Limits()


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A caller. `owner` is whose debates it reads, its own name unless it may only read.

    `models` are patterns of `type/model`, none for all; `limits` hold for a day, in UTC.
    """

    name: str
    owner: str
    digest: str
    scopes: frozenset[Scope]
    models: tuple[str, ...]
    limits: Limits
    created_at: float


_NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent: the questions asked, and what their answers took (`cost` in microdollars).

    What is held belongs to questions that have no answer: they are being asked, or were when their process died.
    """

    questions: int = 0
    usage: Usage = _NOTHING
    cost: int = 0
    held_tokens: int = 0
    held_cost: int = 0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(
            self.questions + other.questions,
            self.usage + other.usage,
            self.cost + other.cost,
            self.held_tokens + other.held_tokens,
            self.held_cost + other.held_cost,
        )


@dataclass(frozen=True, slots=True)
class DayOfSpending:
    """What the debates of one owner spent on one day, in UTC."""

    owner: str
    day: str
    spending: Spending


@dataclass(frozen=True, slots=True)
class DebateRecord:
    """One debate without its events. Times are unix seconds; `last_seq` is 0 before the first event.

    `owner` is the name of the token that made it; empty where none was needed. `reason` says why it ended as it did,
    where its status does not. `parent_id` is the debate that it came of, which may be gone.
    """

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
    owner: str
    reason: str | None
    share_key: str | None
    parent_id: str | None
    relation: Relation | None
    spending: Spending

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.status.final


@dataclass(frozen=True, slots=True)
class Origin:
    """What a debate came of, and the part of that one's log that it begins with."""

    parent_id: str
    relation: Relation
    drafts: tuple[Draft, ...] = ()


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
