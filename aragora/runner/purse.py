"""What one debate spends, on its way between the engine and the ledger."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from aragora.agents.metering import Bill, Meter
from aragora.agents.prices import MICRODOLLARS
from aragora.debate.events import Draft
from aragora.debate.questions import Failure, Question, Reply
from aragora.debate.spec import Budget
from aragora.debate.usage import Usage
from aragora.errors import AragoraError
from aragora.storage import DebateRecord, Hold, Lease, Limits, Settlement, Shortage, Store

log = logging.getLogger(__name__)

_NOTHING = Bill(Usage(), 0)


@dataclass(frozen=True, slots=True)
class _Held:
    """What is held for a question that is being asked; the question itself, so that its identity stays its own."""

    question: Question
    owner: str
    day: str
    hold: Hold


class Purse:
    """Holds what questions may take before they are asked, and says what their answers took.

    A hold is settled with the answer, or released when the question was never asked or its answer came too late to be
    stored. It stays when an answer is broken off: the provider may charge for it, and says nothing any more. Questions
    are distinguished by identity. Any thread may release.
    """

    def __init__(
        self, store: Store, lease: Lease, meter: Meter, daily: Limits, on_bill: Callable[[str, Bill], None]
    ) -> None:
        """`daily` limits owners that are no stored tokens; `on_bill` gets the type of the agent that was paid."""
        self._store = store
        self._lease = lease
        self._meter = meter
        self._daily = daily
        self._on_bill = on_bill
        self._held: dict[int, _Held] = {}
        self._lock = threading.Lock()

    def hold(self, record: DebateRecord, questions: Sequence[Question], at: float) -> tuple[int, Shortage | None]:
        """How many of the questions may be asked now, the first ones, and what prevents the next.

        `at` is in unix seconds. Raises `LeaseLost` and `Unavailable`.
        """
        counted = [question for question in questions if self._meter.is_counted(question.agent)]
        if not counted:
            return len(questions), None
        wanted = [Hold(*self._meter.most(question)) for question in counted]
        granted = self._store.ledger.hold(self._lease, wanted, limits_of(record.spec.budget), self._daily, at)
        with self._lock:
            for question, hold in zip(counted[: granted.count], wanted, strict=False):
                self._held[id(question)] = _Held(question, record.owner, granted.day, hold)
        if granted.count == len(counted):
            return len(questions), None
        return questions.index(counted[granted.count]), granted.shortage

    def settle(
        self, answered: Sequence[tuple[Question, Reply | Failure, Sequence[Draft]]]
    ) -> tuple[list[Draft], list[Settlement]]:
        """The drafts of answers with what each took, and what to settle in the transaction that stores them."""
        drafts: list[Draft] = []
        settlements = []
        for question, result, said in answered:
            if (held := self._take(question)) is None:
                drafts += said
                continue
            bill = self._bill(question, result)
            settlements.append(Settlement(held.day, held.hold, bill.usage, bill.cost))
            drafts += _billed(said, bill)
        return drafts, settlements

    def release(self, question: Question, result: Reply | Failure | None) -> None:
        """The answer will not be stored; `result` is None if the question was never asked."""
        if (held := self._take(question)) is None:
            return
        bill = _NOTHING if result is None else self._bill(question, result)
        settlement = Settlement(held.day, held.hold, bill.usage, bill.cost)
        try:
            self._store.ledger.release(self._lease.debate_id, held.owner, [settlement])
        except AragoraError as error:
            log.warning("%s keeps %d tokens held: %s", self._lease.debate_id, held.hold.tokens, error)

    def _take(self, question: Question) -> _Held | None:
        with self._lock:
            return self._held.pop(id(question), None)

    def _bill(self, question: Question, result: Reply | Failure) -> Bill:
        bill = self._meter.bill(question, result)
        self._on_bill(question.agent.type, bill)
        return bill


def _billed(drafts: Sequence[Draft], bill: Bill) -> Sequence[Draft]:
    """The drafts of one answer, the first of which says what it took."""
    if not drafts or bill == _NOTHING:
        return drafts
    return (replace(drafts[0], data=drafts[0].data | {"usage": bill.to_json()}), *drafts[1:])


def limits_of(budget: Budget) -> Limits:
    """A debate's budget as the ledger counts."""
    cost = None if budget.money is None else round(budget.money * MICRODOLLARS)
    return Limits(budget.questions, budget.tokens, cost)
