"""What debates and API tokens spend, and whether they may spend more. The database is the truth.

    hold (before a question is asked) ──► settle (with its answer, in the transaction that stores it)
                                     └──► release (when no process will hear the answer)

Before a question is asked, the most that it may take is **held**: added to the counts of its debate and of its owner's
day in one transaction, unless that would pass a limit. So no number of processes asks more than the limits allow. The
answer's transaction replaces the hold by what the answer took. What a process held when it was killed stays held: the
provider may have charged for it, and there is no way to find out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from aragora.debate.usage import Usage
from aragora.errors import LeaseLost, TooManyRequests
from aragora.storage import tokens
from aragora.storage.engine import Database
from aragora.storage.records import DayOfSpending, Lease, Limits, Spending
from aragora.storage.tables import RUNNABLE, SUMS, debates, spending

CONFIGURED = "@"  # prefix of owners that are no stored tokens; an unowned debate's owner is empty
AGAIN = 5.0  # seconds after which a token with too many debates may ask again
DAY = 86_400  # seconds

# Both databases know ON CONFLICT; the counts begin at their defaults.
_OPEN_DAY = sa.text("INSERT INTO spending (owner, day) VALUES (:owner, :day) ON CONFLICT (owner, day) DO NOTHING")


@dataclass(frozen=True, slots=True)
class Hold:
    """The most that one question may take: tokens of prompt and answer together, and microdollars."""

    tokens: int
    cost: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """A hold, and what its answer took instead; the `day` is that of the hold, in UTC."""

    day: str
    hold: Hold
    usage: Usage
    cost: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a question may not be asked. `whose` is `debate` or `token`, `what` the limit's name; both are empty where
    the token is gone."""

    whose: str = ""
    what: str = ""
    limit: int = 0

    def __str__(self) -> str:
        if not self.whose:
            return "the API token was removed"
        shown = f"{self.limit / 1e6:.2f} $" if self.what == "cost" else f"{self.limit:,} {self.what}"
        if self.whose == "debate":
            return f"the budget of {shown} does not allow another question"
        return f"the API token may spend {shown} a day, which does not allow another question"


@dataclass(frozen=True, slots=True)
class Granted:
    """How many of the questions may be asked now, the first ones, and why not all; `day` is to be settled with."""

    count: int
    day: str
    shortage: Shortage | None


class Ledger:
    """Holds, and sums of what was spent; `Store.append` settles."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hold(self, lease: Lease, wanted: Sequence[Hold], budget: Limits, daily: Limits, at: float) -> Granted:
        """Hold what as many of `wanted` may take as the limits allow, in order.

        `budget` is the debate's, `daily` is its owner's where that is no stored token. `at` is in unix seconds. Raises
        `LeaseLost` when the debate has ended or is not this lease's any more.
        """
        day = day_of(at)
        with self._database.writing() as connection:
            debate = connection.execute(_held_debate(lease)).one_or_none()
            if debate is None:
                raise LeaseLost("another process holds the debate")
            allowed = _daily(connection, debate.owner, daily)
            if allowed is None:
                return Granted(0, day, Shortage())
            today = _open_day(connection, debate.owner, day)
            count, shortage = _fitting(wanted, (("debate", debate, budget), ("token", today, allowed)))
            if count:
                change = {
                    "questions": count,
                    "held_tokens": sum(hold.tokens for hold in wanted[:count]),
                    "held_cost": sum(hold.cost for hold in wanted[:count]),
                }
                connection.execute(_adding(debates, change).where(debates.c.id == lease.debate_id))
                connection.execute(_adding(spending, change).where(*_is_day(debate.owner, day)))
        return Granted(count, day, shortage)

    def release(self, debate_id: str, owner: str, settlements: Sequence[Settlement]) -> None:
        """Replace holds whose answers no process will store by what they are thought to have taken, which stays held.

        Once for each hold, by the process that holds it; the debate may have ended or be gone.
        """
        with self._database.writing() as connection:
            for day, change in _by_day(settlements):
                back = {
                    "held_tokens": change["held_tokens"] + change["input_tokens"] + change["output_tokens"],
                    "held_cost": change["held_cost"] + change["cost"],
                }
                connection.execute(_adding(debates, back).where(debates.c.id == debate_id))
                connection.execute(_adding(spending, back).where(*_is_day(owner, day)))

    def days(self, owner: str | None, since: str) -> list[DayOfSpending]:
        """What was spent on each day from `since` on, newest first; by every owner if it is None."""
        query = sa.select(spending).where(spending.c.day >= since).order_by(spending.c.day.desc(), spending.c.owner)
        if owner is not None:
            query = query.where(spending.c.owner == owner)
        with self._database.reading() as connection:
            return [DayOfSpending(row.owner, row.day, spent(row)) for row in connection.execute(query)]


def admit(connection: Connection, owner: str, limits: Limits, least: Hold | None, at: float) -> None:
    """Return if `owner` may begin another debate now; others of the same owner wait for this transaction.

    `least` is what its first question takes, None where no question costs anything. Raises `TooManyRequests`.
    """
    if limits.unbounded:
        return
    today = _open_day(connection, owner, day_of(at))
    if limits.debates is not None:
        mine = sa.select(sa.func.count()).select_from(debates).where(RUNNABLE, debates.c.owner == owner)
        if connection.execute(mine).scalar_one() >= limits.debates:
            raise TooManyRequests(
                f"the API token may have {limits.debates} debates at once, and has as many", retry_after=AGAIN
            )
    shortage = None if least is None else _exceeded(today, (1, least.tokens, least.cost), limits)
    if shortage is not None:
        raise TooManyRequests(str(Shortage("token", *shortage)), retry_after=DAY - at % DAY)


def settled(connection: Connection, debate_id: str, owner: str, settlements: Sequence[Settlement]) -> None:
    """Replace holds by what their answers took, within the transaction that stores the answers."""
    for day, change in _by_day(settlements):
        connection.execute(_adding(debates, change).where(debates.c.id == debate_id))
        connection.execute(_adding(spending, change).where(*_is_day(owner, day)))


def day_of(at: float) -> str:
    """The day of a moment, in UTC, as 2026-01-31."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def spent(row: Any) -> Spending:
    """The counts of a row of either table."""
    usage = Usage(row.input_tokens, row.output_tokens, row.cached_tokens, row.written_tokens, row.thought_tokens)
    return Spending(row.questions, usage, row.cost, row.held_tokens, row.held_cost)


def _held_debate(lease: Lease) -> sa.Select[Any]:
    return (
        sa.select(debates.c.owner, debates.c.questions, *(debates.c[name] for name in SUMS))
        .where(
            RUNNABLE,
            debates.c.id == lease.debate_id,
            debates.c.lease_owner == lease.owner,
            debates.c.lease_token == lease.token,
        )
        .with_for_update()
    )


def _daily(connection: Connection, owner: str, configured: Limits) -> Limits | None:
    """The limits of the owner's day; None when its token is gone."""
    if not owner or owner.startswith(CONFIGURED):
        return configured
    found = tokens.named(connection, owner)
    return None if found is None else found.limits


def _open_day(connection: Connection, owner: str, day: str) -> Any:
    """The owner's row of the day, kept from other transactions until the end of this one."""
    connection.execute(_OPEN_DAY, {"owner": owner, "day": day})
    return connection.execute(sa.select(spending).where(*_is_day(owner, day)).with_for_update()).one()


def _is_day(owner: str, day: str) -> tuple[sa.ColumnElement[bool], ...]:
    return spending.c.owner == owner, spending.c.day == day


def _fitting(wanted: Sequence[Hold], bounds: Sequence[tuple[str, Any, Limits]]) -> tuple[int, Shortage | None]:
    """How many of `wanted` fit, and which limit the next one would pass."""
    tokens_held = cost_held = 0
    for count, hold in enumerate(wanted):
        tokens_held += hold.tokens
        cost_held += hold.cost
        for whose, row, limits in bounds:
            if (passed := _exceeded(row, (count + 1, tokens_held, cost_held), limits)) is not None:
                return count, Shortage(whose, *passed)
    return len(wanted), None


def _exceeded(row: Any, more: tuple[int, int, int], limits: Limits) -> tuple[str, int] | None:
    """The first limit that so many more questions, tokens and microdollars would pass."""
    have = (
        row.questions,
        row.input_tokens + row.output_tokens + row.held_tokens,
        row.cost + row.held_cost,
    )
    bounds = (("questions", limits.questions), ("tokens", limits.tokens), ("cost", limits.cost))
    for (what, limit), there, extra in zip(bounds, have, more, strict=True):
        if limit is not None and there + extra > limit:
            return what, limit
    return None


def _by_day(settlements: Sequence[Settlement]) -> Iterator[tuple[str, dict[str, int]]]:
    """What each day's counts change by."""
    for day in dict.fromkeys(item.day for item in settlements):
        mine = [item for item in settlements if item.day == day]
        usage = sum((item.usage for item in mine), Usage())
        yield (
            day,
            {
                "input_tokens": usage.input,
                "output_tokens": usage.output,
                "cached_tokens": usage.cached,
                "written_tokens": usage.written,
                "thought_tokens": usage.thought,
                "cost": sum(item.cost for item in mine),
                "held_tokens": -sum(item.hold.tokens for item in mine),
                "held_cost": -sum(item.hold.cost for item in mine),
            },
        )


def _adding(table: sa.Table, change: dict[str, int]) -> sa.Update:
    return sa.update(table).values({name: table.c[name] + value for name, value in change.items()})
